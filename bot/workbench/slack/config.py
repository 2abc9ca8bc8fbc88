"""What a workspace is made of before anyone says anything: team, app, people, channels, groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Persona:
    """A person one can be in the page; `color` is Slack's six hex digits without the sign."""

    id: str
    name: str
    real_name: str
    title: str
    color: str
    is_guest: bool = False

    @property
    def email(self) -> str:
        """An address in a domain that can never exist (RFC 2606)."""
        return f"{self.name}@night-shift.example"


@dataclass(frozen=True)
class ChannelSeed:
    """A channel that is there from the start, with its first members (user ids; the bot's too if it is in)."""

    id: str
    name: str
    members: tuple[str, ...]
    topic: str = ""
    purpose: str = ""
    is_private: bool = False
    is_general: bool = False


@dataclass(frozen=True)
class GroupSeed:
    """A user group: `handle` is what people type after the @."""

    id: str
    handle: str
    name: str
    members: tuple[str, ...]


PERSONAS = (
    Persona("U0MAYA", "maya", "Maya Okafor", "On-call engineer, inference", "7c3aed"),
    Persona("U0JONAS", "jonas", "Jonas Weber", "Second on-call, platform", "0f766e"),
    Persona("U0PRIYA", "priya", "Priya Raman", "Incident commander, engineering manager", "b45309"),
    Persona("U0SAM", "sam", "Sam Lee", "Customer support", "2563eb"),
    Persona("U0GUEST", "gus", "Gus Guest", "Contractor", "64748b", is_guest=True),
)
EVERYONE = tuple(persona.id for persona in PERSONAS)
CHANNELS = (
    ChannelSeed(
        "C0INCIDENTS",
        "incidents",
        (*EVERYONE, "U0FIXFIRST"),
        topic="Every incident starts here",
        purpose="Alerts become incidents here; each gets a channel of its own.",
    ),
    ChannelSeed("C0GENERAL", "general", EVERYONE, purpose="Announcements and talk for everyone.", is_general=True),
    ChannelSeed(
        "C0INFERENCE",
        "inference",
        EVERYONE,
        topic="Models, GPUs, latency",
        purpose="The team that serves the models.",
    ),
)
USERGROUPS = (GroupSeed("S0RESPOND", "inference-oncall", "Inference on-call", ("U0MAYA", "U0JONAS", "U0PRIYA")),)


@dataclass(frozen=True)
class WorkspaceConfig:
    """Everything a workspace starts from.

    `manifest` is the app manifest as a mapping (see manifest.load_manifest); `bot_url` moves the manifest's
    request addresses to another host, so that the same file serves real Slack and a bot on this machine.
    `public_url` is where this workspace itself is reached: response_url and permalinks point there.
    `paced` turns Slack's rate limits on. `file_delay_s` is how long Slack looks at a file before a block may show it.
    """

    signing_secret: str
    bot_token: str
    manifest: Mapping[str, Any]
    bot_url: str | None = None
    public_url: str = "http://127.0.0.1:8066"
    app_token: str | None = None
    verification_token: str = "workbench-verification"  # noqa: S105 (Slack's long deprecated field, no secret)
    team_id: str = "T0FIXFIRST"
    team_name: str = "Night Shift"
    team_domain: str = "night-shift"
    app_id: str = "A0FIXFIRST"
    bot_id: str = "B0FIXFIRST"
    bot_user_id: str = "U0FIXFIRST"
    personas: tuple[Persona, ...] = PERSONAS
    channels: tuple[ChannelSeed, ...] = CHANNELS
    usergroups: tuple[GroupSeed, ...] = USERGROUPS
    paced: bool = True
    file_delay_s: float = 0.4
