"""From a runbook to a run: which ones fit an alert, and the steps with every value filled in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.incident.run import StepSpec, Verify
from bot.runbook import promql
from bot.runbook.kinds import KINDS, Arg, KindRule, Targets, costlier, least_risk
from bot.runbook.model import Param, Runbook, Step
from bot.runbook.template import PLACEHOLDER, refusal, render


class BadParams(ValueError):
    """Values that do not fit; `problems` has a sentence for each parameter, as a modal shows them."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True)
class Offer:
    """A runbook with the values its alert gives; `missing` must be asked for before it can start."""

    runbook: Runbook
    params: Mapping[str, str]
    missing: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with. `target` is the lock; `source_digest` the SHA-256 of the runbook's text, in hex."""

    runbook: str
    title: str
    params: Mapping[str, str]
    steps: tuple[StepSpec, ...]
    target: str
    source_digest: str


def offer(runbooks: Iterable[Runbook], alertname: str, labels: Mapping[str, str]) -> list[Offer]:
    """The runbooks that name this alert, those with nothing left to ask first."""
    fitting = [prefill(runbook, labels) for runbook in runbooks if alertname in runbook.alerts]
    return sorted(fitting, key=lambda offered: (len(offered.missing), offered.runbook.id))


def prefill(runbook: Runbook, labels: Mapping[str, str]) -> Offer:
    """Takes parameters from labels and defaults. A label value that does not fit its type counts as missing."""
    params: dict[str, str] = {}
    missing: list[Param] = []
    for param in runbook.params:
        value = labels.get(param.label, "") if param.label else ""
        if value and refusal(param.type, value) is None:
            params[param.name] = value
        elif not value and param.default is not None:
            params[param.name] = param.default
        else:
            missing.append(param)
    return Offer(runbook, params, tuple(missing))


def start(
    runbook: Runbook,
    params: Mapping[str, str],
    kinds: Mapping[str, KindRule] = KINDS,
    targets: Targets | None = None,
) -> Start:
    """The run of a faultless runbook with these values; raises BadParams before anything is rendered."""
    values = _values(runbook, params)
    lock = render(runbook.lock, values) if runbook.lock else f"runbook/{runbook.id}"
    steps = tuple(_spec(step, runbook, values, kinds, targets or {}) for step in runbook.steps)
    return Start(runbook.id, runbook.title, values, steps, lock, runbook.digest)


def _values(runbook: Runbook, params: Mapping[str, str]) -> dict[str, str]:
    declared = {param.name: param for param in runbook.params}
    problems = {name: "this runbook has no such parameter" for name in params if name not in declared}
    values: dict[str, str] = {}
    for name, param in declared.items():
        value = params.get(name) or param.default or ""
        wrong = refusal(param.type, value) if value else "a value is needed"
        if wrong:
            problems[name] = wrong
        else:
            values[name] = value
    if problems:
        raise BadParams(problems)
    return values


def _spec(
    step: Step, runbook: Runbook, values: Mapping[str, str], kinds: Mapping[str, KindRule], targets: Targets
) -> StepSpec:
    rule = kinds[step.kind]
    least = least_risk(rule, step.args, targets)
    numbers = frozenset(param.name for param in runbook.params if param.type == "int")
    return StepSpec(
        id=step.id,
        title=render(step.title, values),
        kind=step.kind,
        args={name: _arg(rule.arg(name), value, values, numbers) for name, value in step.args.items()},
        risk=costlier(step.risk or least, least),
        prose=render(step.prose, values),
        warning=render(step.warning, values),
        checklist=tuple(render(item, values) for item in step.checklist),
        timeout=step.timeout or rule.timeout,
        retry=step.retry,
        verify=_verify(step.verify, values),
        undo=step.undo,
        no_undo=render(step.no_undo, values),
        lease=step.lease,
        on_fail=step.on_fail,
    )


def _arg(what: Arg | None, value: Any, values: Mapping[str, str], numbers: frozenset[str]) -> Any:
    """A value in its place: escaped inside PromQL, plain where the step's kind encodes it later (URL, JSON).

    Text that is nothing but a whole-number parameter becomes that number: an API that scales wants 4, not "4".
    """
    if what is Arg.PROMQL:
        return render(value, values, promql.escape)
    if what not in (Arg.TEXT, Arg.PERCENT, Arg.REPLICAS) or not isinstance(value, str):
        return value
    text = render(value, values)
    alone = PLACEHOLDER.fullmatch(value)
    return int(text) if alone and alone[1] in numbers else text


def _verify(verify: Verify | None, values: Mapping[str, str]) -> Verify | None:
    if verify is None:
        return None
    return Verify(render(verify.query, values, promql.escape), verify.expect, verify.hold, verify.within)
