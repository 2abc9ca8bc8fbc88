"""The forms: what Slack shows over the conversation, and how the answers are read back.

A block's id and its input's are the name of the field, so that errors and values find each other.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.incident.advice import proposed_runbook
from bot.incident.events import Role, Severity
from bot.incident.policy import Policy
from bot.incident.rating import CAUSES
from bot.incident.run import Run, StepRun
from bot.incident.state import Incident
from bot.incident.timeline import span
from bot.slack.actions import Do, StepDo, evidence_value
from bot.slack.blocks import Block, plain_text, section, small
from bot.slack.steps import PLAN_LINES, bullets
from bot.slack.text import line, when

INPUT_MAX: Final = 3000
"""https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element"""
TITLE_MAX: Final = 150
METADATA_MAX: Final = 3000
RUNBOOKS_MAX: Final = 100
OPTION_VALUE_MAX: Final = 75
_ONE_VALUE: Final = (
    "value",
    "selected_user",
    "selected_channel",
    "selected_conversation",
    "selected_date",
    "selected_time",
    "selected_date_time",
)
_MANY_VALUES: Final = ("selected_users", "selected_channels", "selected_conversations")
_SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.SEV1: "users cannot work",
    Severity.SEV2: "many users feel it",
    Severity.SEV3: "some users feel it, or it will grow",
    Severity.SEV4: "nobody feels it yet",
}
_ROLES: Final[Mapping[Role, str]] = {
    Role.COMMANDER: "leads, decides, delegates",
    Role.COMMUNICATIONS: "tells everybody outside",
    Role.SCRIBE: "keeps the timeline",
}


def declare(title: str = "") -> Block:
    """A new incident; only the title must be filled in."""
    return _view(
        Do.DECLARE,
        "Declare an incident",
        "Declare",
        "",
        [
            _input("title", "What is wrong?", _line("title", title, TITLE_MAX, "llama-70b answers 500")),
            _input("severity", "How bad?", _severities(Severity.SEV2)),
            _input("impact", "Who feels it?", _text("impact", "", "Chat users, about one in three"), optional=True),
            _input("service", "Service", _line("service", "", 80, "chat"), optional=True),
            _input("model", "Model", _line("model", "", 80, "llama-70b"), optional=True),
        ],
    )


def severity(incident: Incident) -> Block:
    """Another severity."""
    return _view(
        Do.SEVERITY,
        f"Severity of {incident.ref}",
        "Change",
        incident.id,
        [_input("severity", "How bad?", _severities(incident.severity))],
    )


def role(incident: Incident) -> Block:
    """Somebody for one of the three seats."""
    options = [_option(name.value.capitalize(), name.value, why) for name, why in _ROLES.items()]
    free = next((option for option in options if Role(option["value"]) not in incident.roles), options[0])
    seats = {"type": "static_select", "action_id": "role", "options": options, "initial_option": free}
    people = {"type": "users_select", "action_id": "user", "placeholder": plain_text("Choose a person", 150)}
    return _view(
        Do.ROLE,
        f"Roles of {incident.ref}",
        "Assign",
        incident.id,
        [_input("role", "Role", seats), _input("user", "Who", people)],
    )


def impact(incident: Incident) -> Block:
    """Which users, how badly, since when: nobody but a person can tell the last, and the key times count from it."""
    known = incident.impact or (incident.evidence.impact if incident.evidence else "")
    since: Block = {"type": "datetimepicker", "action_id": "since"}
    if incident.started_at is not None:
        since["initial_date_time"] = int(incident.started_at.timestamp())
    return _view(
        Do.IMPACT,
        f"Impact of {incident.ref}",
        "State it",
        incident.id,
        [
            _input(
                "text", "Which users are affected, and how badly?", _text("text", known, "Chat users, one in three")
            ),
            _input(
                "since",
                "Since when?",
                since,
                optional=True,
                hint="As the graphs show it. Without it, time to detect, to mitigate and to resolve stay unknown.",
            ),
        ],
    )


def note(incident: Incident) -> Block:
    """A line for the timeline."""
    return _view(
        Do.NOTE,
        f"Note on {incident.ref}",
        "Add",
        incident.id,
        [_input("text", "What happened?", _text("text", "", "Restarted the gateway"))],
    )


def update(incident: Incident) -> Block:
    """A word to stakeholders."""
    last = incident.communicated
    told = f"*The last update*, {when(last.at)}\n{line(last.what, 1000)}" if last else "_Nobody has been told yet._"
    hint = "What users see, what you are doing, and when you will say more. Three short sentences are plenty."
    return _view(
        Do.UPDATE,
        f"Update on {incident.ref}",
        "Post",
        incident.id,
        [section(told), _input("text", "Update", _text("text", "", "One in three chat requests fails. …"), hint=hint)],
    )


def mitigated(incident: Incident) -> Block:
    """Users are no longer hurt; how, if one wants to say."""
    return _view(
        Do.MITIGATED,
        f"Mitigate {incident.ref}",
        "Mitigated",
        incident.id,
        [
            section("Users are no longer hurt. The incident stays open until it is resolved."),
            _input("text", "What helped?", _text("text", "", "Rolled llama-70b back to r41"), optional=True),
        ],
    )


def wrong_verdict(incident: Incident, evidence: str) -> Block:
    """What it really was, where somebody knows."""
    look = incident.looks[evidence]
    named = CAUSES.get(look.cause, look.cause or "no cause")
    options = [_option(words.capitalize(), cause) for cause, words in CAUSES.items() if cause != look.cause]
    select: Block = {"type": "static_select", "action_id": "actual", "options": options}
    return _view(
        Do.WRONG,
        "Wrong verdict",
        "Send",
        evidence_value(incident.id, evidence),
        [
            section(f"*{line(evidence, 40)}* said {line(look.verdict, 40)}, because of {line(named, 80)}."),
            _input("actual", "What was it really?", select, optional=True, hint="Leave it empty while nobody knows."),
            _input("text", "How do you know?", _text("text", "", "The gateway's config had changed"), optional=True),
        ],
    )


def resolve(incident: Incident, policy: Policy) -> Block:
    """It is over; with alerts still firing, only after a look at their number."""
    burning = [] if not incident.firing else _still_firing(incident, policy)
    said = incident.ask.reason if incident.ask else ""
    return _view(
        Do.RESOLVE,
        f"Resolve {incident.ref}",
        "Resolve",
        incident.id,
        [
            *burning,
            _proof(policy),
            _input("reason", "Why is it over?", _text("reason", said, "Rolled back; errors are at 0.1 %")),
            _input(
                "cancel",
                "Or was it none?",
                _boxes("cancel", "It was a false alarm: cancel, no postmortem"),
                optional=True,
            ),
        ],
    )


def _proof(policy: Policy) -> Block | None:
    if policy.proof_over is None:
        return None
    return small(
        f"The telemetry is asked first: errors, latency, queue and Xids of the last {span(policy.proof_over)}, against "
        "their limits and the hour before the alert. The numbers go on the timeline."
    )


def resolve_unproven(incident: Incident, policy: Policy) -> Block:
    """It is over although the telemetry does not prove it: the numbers, and the reason that stays with them."""
    tested = incident.tested
    against, measured = "It was not asked.", ""
    if tested is not None and not tested.holds:
        against, measured = line(tested.text, 1500), f", asked {when(tested.at)}"
    return _view(
        Do.UNPROVEN,
        f"Resolve {incident.ref}",
        "Resolve",
        incident.id,
        [
            section(f":warning: *The telemetry does not prove that it is over*{measured}\n{against}"),
            *(_still_firing(incident, policy) if incident.firing else ()),
            _input(
                "reason",
                "Why is it over all the same?",
                _text("reason", "", "The queue is a batch job of ours; users are served"),
                hint="It stays on record with the numbers, and is in the postmortem.",
            ),
        ],
    )


def _still_firing(incident: Incident, policy: Policy) -> list[Block | None]:
    alerts = "1 alert is" if incident.firing == 1 else f"{incident.firing} alerts are"
    recovered = f", {incident.recovered} recovered" if incident.recovered else ""
    return [
        section(f":warning: *{alerts} still firing*{recovered}."),
        small(
            f"If you resolve now they stay quiet for {span(policy.snooze)}; what fires then opens this incident again."
        ),
        _input("confirm", "Are you sure?", _boxes("confirm", "Resolve all the same"), optional=True),
    ]


def run(
    incident: Incident, titles: Mapping[str, str], chosen: str = "", params: Mapping[str, str] | None = None
) -> Block:
    """A runbook and its parameters. Choosing one is sent at once, so that its parameters can be asked for.

    `titles` must not be empty. Of more than a hundred runbooks the chosen and proposed ones come first.
    """
    first = [one for one in (chosen, proposed_runbook(incident)) if one in titles]
    ids = [one for one in dict.fromkeys([*first, *titles]) if len(one) <= OPTION_VALUE_MAX][:RUNBOOKS_MAX]
    options = [_option(titles[one], one) for one in ids]
    menu: Block = {
        "type": "static_select",
        "action_id": "runbook",
        "placeholder": plain_text("Choose a runbook", 150),
        "options": options,
    }
    if chosen in ids:
        menu["initial_option"] = options[ids.index(chosen)]
    asked = [_param(name, value) for name, value in (params or {}).items()] if chosen in ids else []
    blocks = [
        {**_input("runbook", "Runbook", menu), "dispatch_action": True},
        *asked[:90],
        small("Nothing is changed yet: every act is previewed and waits for your go."),
    ]
    return _view(Do.RUN, f"Mitigate {incident.ref}", "Start", meta(incident.id, chosen), blocks)


def skip_step(run: Run, step: StepRun, value: str) -> Block:
    """Why a step is left out. `value` is that of the button, and comes back with the answer."""
    return _view(
        StepDo.SKIP,
        "Skip a step",
        "Skip it",
        value,
        [
            section(
                f"*{line(run.title, 150)}*\nLeaves out *{line(step.spec.title, 150)}* and goes on with the next step."
            ),
            _input("reason", "Why?", _text("reason", "", "The revision before was bad too")),
        ],
    )


def go_alone(run: Run, step: StepRun, value: str) -> Block:
    """Why one person goes on with what takes two. `value` is that of the button, and comes back with the answer."""
    what = bullets((str(text) for text in step.plan.get("lines", ())), PLAN_LINES)
    return _view(
        StepDo.ALONE,
        "Go on alone",
        "Run it alone",
        value,
        [
            section(f":warning: *{line(step.spec.title, 150)}* cannot be taken back.\n{what}"),
            section(f"It stays on record that you did so in *{line(run.title, 150)}*, and why."),
            _input("reason", "Why can it not wait for a second person?", _text("reason", "", "node-3 is failing too")),
        ],
    )


def _param(name: str, value: str) -> Block:
    field = f"param.{name}"
    # The id names the runbook's parameter and stays the same while others are filled in.
    return _input(field, name.replace("_", " ").capitalize(), _line(field, value, INPUT_MAX, ""), optional=False)


def loading(title: str) -> Block:
    """Holds the place while the real form is made: a trigger lives for 3 s."""
    return _bare(title, [section(":hourglass_flowing_sand: One moment.")])


def failed(sentence: str) -> Block:
    """Takes the place of a form that cannot be shown."""
    return _bare("That did not work", [section(f":warning: {line(sentence, 1500) or 'Please try again.'}")])


def meta(incident_id: str, runbook: str = "") -> str:
    """The run form's private_metadata."""
    return json.dumps({"incident": incident_id, "runbook": runbook}, ensure_ascii=False)


def read_meta(text: str) -> tuple[str, str]:
    """Incident id and runbook id of a form's private_metadata; the others begin with the incident id."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text.partition(":")[0], ""
    if not isinstance(data, dict):
        return text, ""
    return str(data.get("incident", "")), str(data.get("runbook", ""))


def first_input(view: Mapping[str, Any]) -> str:
    """The block to show an error at when it is about no field in particular."""
    inputs = [block["block_id"] for block in view.get("blocks", []) if block.get("type") == "input"]
    return str(inputs[-1]) if inputs else ""


def values(state: Mapping[str, Any]) -> dict[str, str]:
    """A submitted view's `state`, as field name to value: empty for nothing, checked boxes joined by commas."""
    found: dict[str, str] = {}
    for elements in (state.get("values") or {}).values():
        for name, element in elements.items():
            found[name] = _value(element)
    return found


def _value(element: Mapping[str, Any]) -> str:
    for key in _ONE_VALUE:
        if element.get(key):
            return str(element[key])
    if element.get("selected_option"):
        return str(element["selected_option"].get("value", ""))
    if element.get("selected_options"):
        return ",".join(str(option.get("value", "")) for option in element["selected_options"])
    for key in _MANY_VALUES:
        if element.get(key):
            return ",".join(map(str, element[key]))
    return ""


def _view(do: Do | StepDo, title: str, submit: str, metadata: str, blocks: Sequence[Block | None]) -> Block:
    return {
        **_bare(title, blocks),
        "callback_id": f"modal.{do.value}",
        "private_metadata": metadata,
        "submit": plain_text(submit, 24),
    }


def _bare(title: str, blocks: Sequence[Block | None]) -> Block:
    return {
        "type": "modal",
        "title": plain_text(title, 24),
        "close": plain_text("Close", 24),
        "blocks": [block for block in blocks if block is not None],
    }


def _input(name: str, label: str, element: Block, *, optional: bool = False, hint: str = "") -> Block:
    block: Block = {
        "type": "input",
        "block_id": name,
        "label": plain_text(label, 200),
        "element": element,
        "optional": optional,
    }
    if hint:
        block["hint"] = plain_text(hint, 300)
    return block


def _line(name: str, initial: str, limit: int, example: str) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": name, "max_length": limit}
    if initial.strip():
        # What stands in a field is data, never marked text, so it is not escaped.
        element["initial_value"] = " ".join(initial.split())[:limit].rstrip()
    if example:
        element["placeholder"] = plain_text(example, 150)
    return element


def _text(name: str, initial: str, example: str) -> Block:
    element: Block = {
        "type": "plain_text_input",
        "action_id": name,
        "multiline": True,
        "max_length": INPUT_MAX,
        "placeholder": plain_text(example, 150),
    }
    if initial.strip():
        element["initial_value"] = initial.strip()[:INPUT_MAX].rstrip()
    return element


def _option(text: str, value: str, why: str = "") -> Block:
    option: Block = {"text": plain_text(text, 75), "value": value}
    return {**option, "description": plain_text(why, 75)} if why else option


def _severities(now: Severity) -> Block:
    options = [_option(one.value, one.value, why) for one, why in _SEVERITIES.items()]
    chosen = options[list(_SEVERITIES).index(now)]
    return {"type": "static_select", "action_id": "severity", "options": options, "initial_option": chosen}


def _boxes(name: str, text: str) -> Block:
    return {"type": "checkboxes", "action_id": name, "options": [_option(text, "yes")]}
