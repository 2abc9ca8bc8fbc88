"""Who is who, and how fresh that has to be."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from slack_sdk import WebClient

from bot.incident.people import ActorKind, Refused, Right
from bot.slack.directory import Directory
from bot.workbench.slack.faults import Fault
from tests.hands import HandClock
from tests.slack.wire.office import GUEST, JONAS, MAYA, SAM, Office


def test_responders_are_known_after_one_look_and_without_asking_again(office: Office) -> None:
    asked = len(office.workspace.calls)
    maya = office.directory.known(MAYA)
    assert maya is not None
    assert (maya.kind, maya.name, maya.rights) == (ActorKind.MEMBER, "Maya Okafor", frozenset({Right.RESPOND}))
    assert office.directory.known(JONAS) is not None
    assert len(office.workspace.calls) == asked


def test_a_member_outside_the_groups_has_no_rights(office: Office) -> None:
    assert office.directory.known(SAM) is None, "nobody has asked about Sam yet"
    assert office.directory.look_up(SAM).rights == frozenset()
    assert office.directory.known(SAM) is not None


def test_a_guest_is_a_guest_even_in_a_responder_group(office: Office) -> None:
    _responders(office, MAYA, GUEST)
    office.directory.refresh()
    guest = office.directory.look_up(GUEST)
    assert (guest.kind, guest.rights) == (ActorKind.GUEST, frozenset())


def test_who_leaves_the_group_loses_the_right_within_a_minute(office: Office) -> None:
    _responders(office, JONAS)
    office.after(seconds=60)
    assert office.directory.known(MAYA) is not None, "a minute old is still good"
    office.after(seconds=1)
    assert office.directory.known(MAYA) is None
    assert office.directory.look_up(MAYA).rights == frozenset()


def test_rights_that_cannot_be_checked_are_no_rights(office: Office) -> None:
    office.after(seconds=61)
    office.workspace.faults.plan(Fault.DROP, "usergroups.users.list")
    with pytest.raises(Refused, match="fixfirst ack"):
        office.directory.look_up(MAYA)
    assert office.directory.look_up(MAYA).rights, "and come back with Slack"


def _responders(office: Office, *members: str) -> None:
    """An admin changes who is in the group."""
    groups = office.workspace.state.groups
    groups["S0RESPOND"] = replace(groups["S0RESPOND"], members=members)


def test_without_groups_every_full_member_responds() -> None:
    directory = _directory({"team_id": "T1", "profile": {}})
    assert directory.look_up("U1").rights == frozenset({Right.RESPOND})


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, ActorKind.MEMBER),
        ({"is_restricted": True}, ActorKind.GUEST),
        ({"is_ultra_restricted": True}, ActorKind.GUEST),
        ({"deleted": True}, ActorKind.GUEST),
        ({"is_stranger": True}, ActorKind.STRANGER),
        ({"team_id": "T2"}, ActorKind.STRANGER),
        ({"is_bot": True}, ActorKind.APP),
        ({"is_admin": True, "is_owner": True}, ActorKind.MEMBER),
    ],
)
def test_only_full_members_of_this_workspace_are_members(facts: dict[str, Any], kind: ActorKind) -> None:
    somebody = _directory({"team_id": "T1", **facts}).look_up("U1")
    assert somebody.kind is kind
    assert bool(somebody.rights) == (kind is ActorKind.MEMBER)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"profile": {"display_name": "maya", "real_name": "Maya O"}, "name": "mo"}, "Maya O"),
        ({"profile": {"display_name": "maya", "real_name": ""}, "name": "mo"}, "maya"),
        ({"name": "mo"}, "mo"),
        ({}, ""),
    ],
)
def test_people_are_called_by_their_real_names_where_known(facts: dict[str, Any], name: str) -> None:
    assert _directory({"team_id": "T1", **facts}).look_up("U1").name == name


def test_an_account_is_looked_at_again_after_half_a_day() -> None:
    clock = HandClock()
    facts: dict[str, Any] = {"team_id": "T1"}
    directory = _directory(facts, clock)
    directory.look_up("U1")
    facts["is_restricted"] = True
    clock.now += timedelta(hours=12)
    assert directory.look_up("U1").kind is ActorKind.MEMBER
    clock.now += timedelta(seconds=1)
    assert directory.look_up("U1").kind is ActorKind.GUEST


def _directory(facts: dict[str, Any], clock: HandClock | None = None) -> Directory:
    """A directory of a workspace where everybody looks like this, with no responder groups."""
    client = SimpleNamespace(users_info=lambda user: SimpleNamespace(data={"ok": True, "user": {"id": user, **facts}}))
    settings = SimpleNamespace(team_id="T1", responders=())
    return Directory(cast(WebClient, client), cast(Any, settings), clock or HandClock())
