"""What is wrong with a well-formed runbook: unknown names, missing proof, missing way back, unsafe placeholders."""

from collections.abc import Iterator, Mapping

from bot.incident.expect import EXPECT, WANTED
from bot.incident.run import OnFail, Risk
from bot.runbook import promql
from bot.runbook.kinds import FIELD, KINDS, Arg, KindRule, Targets, costlier, least_risk, target_of
from bot.runbook.model import Fault, Runbook, Step, did_you_mean
from bot.runbook.template import PLACEHOLDER, pieces, refusal
from bot.settings import duration


def lint(runbook: Runbook, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None) -> list[Fault]:
    """Every fault of meaning. `targets` None means that the configured ones are not known here (a CI of runbooks)."""
    types = {param.name: param.type for param in runbook.params}
    found = [*_head(runbook, types), *_same_ids(runbook)]
    for step in runbook.steps:
        for line, message in _shown(step, types):
            found.append((line, f"step '{step.id}': {message}"))
        for path, message in _step(step, runbook, types, kinds, targets):
            found.append((step.at(path), f"step '{step.id}': {message}"))
    return [Fault(runbook.file, line, message) for line, message in found]


def _head(runbook: Runbook, types: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    stem = runbook.file.rsplit("/", 1)[-1].removesuffix(".md")
    if runbook.id and runbook.id != stem:
        yield runbook.at("id"), f"the id '{runbook.id}' must be the file's name '{stem}'"
    if any(sort != "text" for sort, _ in pieces(runbook.title)):
        yield runbook.at("title"), "the title is shown as it stands: no value is filled in here"
    for message in _names(runbook.lock, types):
        yield runbook.at("lock"), message
    for param in runbook.params:
        if param.default is not None and param.type and (wrong := refusal(param.type, param.default)):
            yield runbook.at(f"params.{param.name}.default"), f"the default {wrong}"


def _same_ids(runbook: Runbook) -> Iterator[tuple[int, str]]:
    seen: dict[str, Step] = {}
    for step in runbook.steps:
        if step.id == "auto":
            yield step.at("id"), "no step can have the id 'auto': in undo it means something else"
        if step.id in seen:
            yield step.at("id"), f"the id '{step.id}' is already used by the step on line {seen[step.id].line}"
        seen.setdefault(step.id, step)


def _shown(step: Step, types: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """What people will read, line by line; then as it is put together, should that make a difference."""
    found = [(line, message) for line, text in step.shown for message in _names(text, types)]
    texts = () if found else (step.title, step.prose, step.warning, *step.checklist)
    yield from found
    yield from ((step.line, message) for text in texts for message in _names(text, types))


Problems = Iterator[tuple[str, str]]
"""(dotted path inside the step block, sentence)."""


def _step(
    step: Step,
    runbook: Runbook,
    types: Mapping[str, str],
    kinds: Mapping[str, KindRule],
    targets: Targets | None,
) -> Problems:
    for message in _names(step.no_undo, types):
        yield "undo.none", message
    if not step.kind:
        return
    rule = kinds.get(step.kind)
    if rule is None:
        yield "do", f"unknown kind '{step.kind}'; {did_you_mean(step.kind, kinds)}"
        return
    yield from _args(step, rule, types)
    yield from _target(step, rule, targets)
    yield from _cost(step, rule, targets or {})
    yield from _way_back(step, rule, runbook, targets or {})
    if step.verify:
        yield from _query("verify.query", step.verify.query, types)
        yield from _expect("verify.expect", step.verify.expect)


def _names(text: str, types: Mapping[str, str]) -> Iterator[str]:
    for sort, content in pieces(text):
        if sort == "wrong":
            yield f"only {{{{ name }}}} is allowed, found '{content}'"
        elif sort == "name" and content not in types:
            yield f"unknown parameter '{content}'; {did_you_mean(content, types)}"


def _query(path: str, query: str, types: Mapping[str, str]) -> Problems:
    unknown = list(_names(query, types))
    for message in unknown or promql.problems(query, types):
        yield path, message


def _expect(path: str, expect: str) -> Problems:
    if not EXPECT.fullmatch(expect):
        yield path, f"'{expect}' is not an expectation: write '< 0.01' (or <=, >, >=, ==, !=), 'empty' or 'nonempty'"


def _args(step: Step, rule: KindRule, types: Mapping[str, str]) -> Problems:
    for name in rule.args:
        if name not in step.args:
            yield "with", f"{step.kind} needs '{name}' under with:"
    for name, value in step.args.items():
        path = f"with.{name}"
        what = rule.arg(name)
        if what is None:
            yield path, f"{step.kind} does not take '{name}'; {did_you_mean(name, {**rule.args, **rule.optional})}"
        elif what is Arg.PERCENT:
            yield from _percent(path, value, types)
        elif what is Arg.REPLICAS:
            yield from _replicas(path, value, types)
        elif what is Arg.TEXT and isinstance(value, int) and not isinstance(value, bool):
            continue
        elif not isinstance(value, str) or not value:
            yield path, f"'{name}' must be text; put it in quotes"
        elif what is Arg.PROMQL:
            yield from _query(path, value, types)
        elif what is Arg.EXPECT:
            yield from _expect(path, value)
        elif what is Arg.WANTED and not WANTED.fullmatch(value):
            yield path, f"'{value}' is not an expectation: write '> 3', '== text', 'empty' or 'nonempty'"
        elif what is Arg.FIELD and not FIELD.fullmatch(value):
            yield path, f"'{value}' is not the path of a field: write status, or status.replicas"
        elif what is Arg.SPAN and not duration(value):
            yield path, f"'{value}' is not a duration: write 90s, 30m or 1h30m"
        elif what is Arg.TEXT:
            for message in _names(value, types):
                yield path, message


def _percent(path: str, value: object, types: Mapping[str, str]) -> Problems:
    """A whole number, or a placeholder alone whose parameter is one; that one's range is looked at in the preview."""
    alone = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if alone and types.get(alone[1]) == "int":
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
        yield path, "must be a whole number from 0 to 100, or a parameter of type int"


def _replicas(path: str, value: object, types: Mapping[str, str]) -> Problems:
    """A whole number, or with a sign; the number may be a parameter of that type."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9999:
        return
    if isinstance(value, str):
        number = value[1:] if value[:1] in ("+", "-") else value
        named = PLACEHOLDER.fullmatch(number)
        if (named and types.get(named[1]) == "int") or (number.isascii() and number.isdecimal() and len(number) <= 4):
            return
    yield path, 'must be a whole number, more or fewer such as "+2", or a parameter of type int'


def _target(step: Step, rule: KindRule, targets: Targets | None) -> Problems:
    for name in (name for name, what in rule.args.items() if what is Arg.TARGET and name in step.args):
        wanted = str(step.args[name])
        known = None if targets is None else targets.get(rule.table, {})
        if "{" in wanted:
            yield f"with.{name}", f"the {name} is fixed: no value may choose it"
        elif known is not None and wanted not in known:
            yield f"with.{name}", f"no {name} '{wanted}' is configured; {did_you_mean(wanted, known)}"
        elif known is not None:
            reads = (known[wanted].risk or rule.risk) is Risk.READ
            if rule.risk is Risk.READ and not reads:
                yield f"with.{name}", f"the {name} '{wanted}' changes something, and {step.kind} only reads"
            elif reads and rule.risk is not Risk.READ and not rule.may_read:
                yield f"with.{name}", f"the {name} '{wanted}' only reads, so {step.kind} has nothing to do with it"
            if rule.more:
                yield from _further(step, rule, name, known[wanted].needs)
            for key, message in known[wanted].wrong(step.args):
                yield f"with.{key}", message


def _further(step: Step, rule: KindRule, name: str, needs: frozenset[str]) -> Problems:
    wanted, given = str(step.args[name]), frozenset(step.args) - {*rule.args, *rule.optional}
    for missing in sorted(needs - given):
        yield "with", f"the {name} '{wanted}' needs '{missing}' under with:"
    for surplus in sorted(given - needs):
        yield f"with.{surplus}", f"the {name} '{wanted}' has no use for '{surplus}'"


def _cost(step: Step, rule: KindRule, targets: Targets) -> Problems:
    least = least_risk(rule, step.args, targets)
    risk = costlier(step.risk or least, least)
    if rule.may_read and target_of(rule, step.args, targets) is None:
        return  # without its target nobody knows whether it changes anything
    if step.risk is not None and step.risk is not risk:
        yield "risk", f"risk may only be raised: this is at least '{least}'"
    if risk is Risk.READ:
        for key in ("verify", "undo", "lease"):
            if key in step.where:
                yield key, f"{step.kind} changes nothing, so '{key}' has no meaning here"
        return
    if "verify" not in step.where:
        yield "", f"a {risk} step needs verify: how would anyone know that it helped?"
    if "undo" not in step.where:
        yield "", f"a {risk} step needs undo: auto, a step's id, or {{none: why there is no way back}}"


def _named_way_back(step: Step, runbook: Runbook, targets: Targets) -> Problems:
    """It is carried out without a preview, and when a lease ends without a person."""
    other = next(one for one in runbook.steps if one.id == step.undo)
    rule = KINDS.get(other.kind)
    if rule is None:
        return
    risk = costlier(other.risk or Risk.READ, least_risk(rule, other.args, targets))
    if risk is Risk.READ:
        yield "undo", f"the step '{other.id}' changes nothing, so it takes nothing back"
    elif risk is Risk.DESTRUCTIVE:
        yield (
            "undo",
            f"the step '{other.id}' cannot itself be taken back, so it takes two people; write {{none: reason}}",
        )


def _way_back(step: Step, rule: KindRule, runbook: Runbook, targets: Targets) -> Problems:
    if step.undo == "auto" and not rule.undoable:
        yield "undo", f"{step.kind} cannot be taken back: write {{none: why that is well}}, or the id of a step"
    elif step.undo == "auto":
        target = target_of(rule, step.args, targets)
        if target is not None and not target.undoable:
            yield "undo", "its target has no undo configured: add one there, or write {none: reason}"
    elif step.undo is not None:
        others = {other.id for other in runbook.steps if other.id != step.id}
        if step.undo not in others:
            yield "undo", f"undo names no other step '{step.undo}'; {did_you_mean(step.undo, others | {'auto'})}"
        else:
            yield from _named_way_back(step, runbook, targets)
    elif step.no_undo or "undo" not in step.where:
        if step.lease is not None:
            yield "lease", "a lease undoes the step when it ends, but there is no way back"
        if step.on_fail is OnFail.UNDO:
            yield "on_fail", "on_fail: undo needs a way back, but there is none"
