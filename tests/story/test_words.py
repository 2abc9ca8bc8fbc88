"""Every word of `/incident`, wherever it is typed: at the incident, elsewhere, with nothing open, with too much."""

import re

import pytest

from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.state import Status
from tests.story.night import ELSEWHERE, INTAKE, JONAS, MAYA, SAM, Night, told

WORDS = [
    "help",
    "declare",
    "ack",
    "sev",
    "note",
    "timeline",
    "health",
    "changes",
    "run",
    "runbooks",
    "drill",
    "mitigated",
    "update",
    "resolve",
    "postmortem",
    "list",
]


def test_the_words_are_those_that_the_help_tells(night: Night) -> None:
    answer = night.types(SAM, "/incident help")
    assert list(dict.fromkeys(re.findall(r"`/incident (\w+)[^`]*` ", answer))) == WORDS


def test_in_the_incidents_channel_every_word_is_about_that_incident(night: Night) -> None:
    night.burns()
    here = night.incident.channel
    other = night.burns("f9", service="search", model_name="mistral-small").ref
    first = night.app.journal.by_channel(here)
    assert first is not None

    def types(words: str) -> str:
        return night.types(MAYA, f"/incident {words}", here)

    assert "INC-1 is yours" in types("ack")
    assert "INC-1 is SEV1" in types("sev 1")
    assert "Noted in INC-1" in types("note the gateway is fine")
    assert "Posted the update for INC-1" in types("update One in three chat requests fails.")
    assert "the gateway is fine" in types("timeline")
    assert "llama-70b" in types("health"), "the incident's own model"
    assert "INC-1" in types("list")
    assert other in types("list"), "the list is about all of them"
    types("run")
    assert night.form(MAYA).body["title"]["text"] == "Mitigate INC-1"
    night.bench.workspace.close_view(MAYA, night.form(MAYA).id)
    assert "INC-1 is mitigated" in types("mitigated rolled back by hand")
    assert "no postmortem yet" in types("postmortem")
    types("resolve")
    assert night.form(MAYA).body["title"]["text"] == "Resolve INC-1", "an alert still fires, so it asks"
    night.bench.workspace.close_view(MAYA, night.form(MAYA).id)
    night.recovers()
    assert "INC-1 is resolved" in types("resolve rolled back, errors are gone")
    assert "llama-70b answers with errors" in types("postmortem")
    resolved = night.app.journal.incident(first.id)
    assert resolved is not None
    assert resolved.status is Status.RESOLVED
    assert [event.text for event in night.events(ev.NoteAdded, resolved)] == ["the gateway is fine"]
    assert [event.text for event in night.events(ev.UpdatePosted, resolved)] == ["One in three chat requests fails."]
    assert night.incident.ref == other
    assert night.stands(Status.OPEN), "the other incident was never touched"


def test_elsewhere_every_word_takes_the_incidents_name_first(night: Night) -> None:
    night.burns()
    night.burns("f9", service="search", model_name="mistral-small")
    first = night.app.journal.find("INC-1")
    assert first is not None

    def types(words: str) -> str:
        return night.types(JONAS, f"/incident {words}", ELSEWHERE)

    assert "INC-1 is yours" in types("ack INC-1")
    assert "INC-1 is SEV2" in types("sev inc-1 2")
    assert "Noted in INC-1" in types("note INC-1 customers call")
    assert "Posted the update for INC-1" in types("update INC-1 We are on it.")
    assert "customers call" in types("timeline INC-1")
    assert "mistral-small" in types("health mistral-small")
    types("run INC-1 serve-from-cache")
    assert "serve-from-cache" in str(night.form(JONAS).body["private_metadata"])
    night.bench.workspace.close_view(JONAS, night.form(JONAS).id)
    assert "INC-1 is mitigated" in types("mitigated INC-1 traffic moved")
    types("resolve INC-1 all moved")
    assert night.form(JONAS).body["title"]["text"] == "Resolve INC-1"
    night.fills_in(JONAS, reason="all moved", confirm=["yes"])
    assert "The postmortem of INC-1" in types("postmortem INC-1")
    assert "INC-2" in types("list")
    assert all("INC-1" not in told(message) for message in night.messages(ELSEWHERE)), "only Jonas was told"
    assert night.stands(Status.OPEN)


def test_a_health_check_can_name_the_incident_too(night: Night) -> None:
    night.burns()
    night.burns("f9", service="search", model_name="mistral-small")
    assert "mistral-small" in night.types(MAYA, "/incident health INC-2")


@pytest.mark.parametrize("word", ["ack", "sev 2", "note x", "timeline", "run", "mitigated", "update x", "resolve x"])
def test_with_nothing_open_a_word_says_how_to_begin(night: Night, word: str) -> None:
    assert "No incident is open; `/incident declare` opens one." in night.types(MAYA, f"/incident {word}")
    assert "There is no INC-7" in night.types(MAYA, f"/incident {word.split(' ')[0]} INC-7 x")
    assert night.app.journal.recent() == ()


def test_with_nothing_open_the_other_words_work(night: Night) -> None:
    assert "No open incident" in night.types(SAM, "/incident list")
    assert "fleet: " in night.types(SAM, "/incident health"), "nobody need be a responder to look"
    assert "No incident is open" in night.types(SAM, "/incident postmortem")
    night.types(SAM, "/incident declare")
    night.fills_in(SAM, title="Search answers nothing", severity="SEV3")
    assert night.incident.title == "Search answers nothing"
    assert night.incident.severity is Severity.SEV3


@pytest.mark.parametrize("word", ["ack", "sev 2", "note x", "timeline", "run", "mitigated", "update x", "resolve x"])
def test_with_several_open_a_word_asks_which(night: Night, word: str) -> None:
    night.burns()
    night.burns("f9", service="search", model_name="mistral-small")
    for channel in (INTAKE, ELSEWHERE):
        answer = night.types(MAYA, f"/incident {word}", channel)
        assert "Several incidents are open (INC-2, INC-1)" in answer
    assert all(incident.status is Status.OPEN for incident in night.app.journal.live())
    assert night.bench.workspace.open_views(MAYA) == []


def test_the_only_open_incident_needs_no_name(night: Night) -> None:
    night.burns()
    assert "INC-1 is yours" in night.types(MAYA, "/incident ack", ELSEWHERE)


def test_what_is_over_stays_over_and_says_so(night: Night) -> None:
    night.burns()
    channel = night.incident.channel
    night.types(MAYA, "/incident ack", channel)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", channel)
    assert "already resolved" in night.types(JONAS, "/incident ack", channel)
    assert "already resolved" in night.types(JONAS, "/incident mitigated", channel)
    assert "already resolved by Maya Okafor" in night.types(JONAS, "/incident resolve once more", channel)
    assert [event.reason for event in night.events(ev.Resolved)] == ["fixed"]
    assert "Noted in INC-1" in night.types(JONAS, "/incident note the pipeline is stopped now", channel)
