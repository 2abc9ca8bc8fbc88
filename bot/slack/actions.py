"""What can be pressed: the ids that buttons carry and listeners route by, and the values they bring back."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

VALUE_MAX: Final = 2000
"""https://docs.slack.dev/reference/block-kit/block-elements/button-element#fields"""


class Do(StrEnum):
    """About an incident as a whole. The value is the incident's id; DECLARE, LIST and HELP need none, FAILOVER is
    about the database, RELEASE holds the number of the record that stopped all runbooks, and FULL, RIGHT
    and WRONG what `evidence_value` makes.

    MORE is the overflow menu: the value of each of its options is what `more_value` makes.
    """

    ACK = "ack"
    SEVERITY = "sev"
    ROLE = "role"
    IMPACT = "impact"
    RUN = "run"
    UPDATE = "update"
    RESOLVE = "resolve"
    UNPROVEN = "unproven"
    NOTE = "note"
    MITIGATED = "mitigated"
    TIMELINE = "timeline"
    HEALTH = "health"
    FULL = "health.full"
    RIGHT = "verdict.right"
    WRONG = "verdict.wrong"
    POSTMORTEM = "postmortem"
    LIST = "list"
    HELP = "help"
    DECLARE = "declare"
    FAILOVER = "failover"
    RELEASE = "runbooks.start"
    MORE = "more"


class StepDo(StrEnum):
    """About one step of a run; the value is what `step_value` makes."""

    APPROVE = "step.approve"
    SKIP = "step.skip"
    SECOND = "step.second"
    ALONE = "step.alone"
    RETRY = "step.retry"
    UNDO = "step.undo"
    RENEW = "step.renew"
    STOP = "run.stop"
    UNDO_ALL = "run.undo"


@dataclass(frozen=True, slots=True)
class StepRef:
    """Which step of which run a button is about; `digest` is that of the preview it stood under."""

    incident: str
    run: str
    step: str
    digest: str = ""


def evidence_value(incident_id: str, evidence: str) -> str:
    """A button's value about one evidence of an incident."""
    return f"{incident_id}:{evidence}"


def read_evidence_value(text: str) -> tuple[str, str]:
    """The incident's id and the evidence's; ValueError for anything else."""
    incident_id, _, evidence = text.partition(":")
    if not incident_id or not evidence:
        raise ValueError("the button's value is not ours")
    return incident_id, evidence


def step_value(incident_id: str, run: str, step: str, digest: str = "") -> str:
    """A step's button value. ValueError when it does not fit a button."""
    value = json.dumps([incident_id, run, step, digest], ensure_ascii=False, separators=(",", ":"))
    if len(value) > VALUE_MAX:
        raise ValueError(f"the ids of step {step[:40]} are too long for a button")
    return value


def read_step_value(text: str) -> StepRef:
    """What `step_value` wrote; ValueError for anything else."""
    try:
        parts = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("the button's value is not ours") from error
    if not isinstance(parts, list) or len(parts) != 4 or not all(isinstance(part, str) for part in parts):
        raise ValueError("the button's value is not ours")
    return StepRef(*parts)


def more_value(do: Do, incident_id: str) -> str:
    """An overflow option's value: at most 75 characters in Slack's own types, which an incident's id keeps."""
    return f"{do.value}:{incident_id}"


def read_more_value(text: str) -> tuple[Do, str]:
    """What `more_value` wrote; ValueError for anything else."""
    do, _, incident_id = text.partition(":")
    if not incident_id:
        raise ValueError("the menu's value is not ours")
    return Do(do), incident_id
