"""Finds rules that can never fire, and rules that mislead: by what Prometheus has seen, and by what the numbers
mean."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bot.health.rules.findings import Examination, Finding, LoadedRule, Seen
from bot.health.rules.meaning import misleading
from bot.health.rules.presence import Presence
from bot.health.rules.syntax import TooLarge, Unreadable, parse


def read_file(path: Path) -> list[LoadedRule]:
    """The rules of a file, Prometheus' own or an operator's PrometheusRule. Raises Unreadable."""
    import yaml

    try:
        with path.open(encoding="utf-8") as stream:
            data = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unreadable(f"{path}: {str(error).partition(chr(10))[0]}") from error
    try:
        groups = data["spec"]["groups"] if "spec" in data else data["groups"]
        return [
            LoadedRule(
                str(rule.get("alert") or rule["record"]),
                str(rule["expr"]),
                str(group["name"]),
                str(path),
                "alert" in rule,
            )
            for group in groups
            for rule in group["rules"]
        ]
    except (LookupError, TypeError, AttributeError):
        raise Unreadable(f"{path} holds no rules: `groups`, each with `name` and `rules`, are missing") from None


def examine(rules: Sequence[LoadedRule], seen: Seen) -> Examination:
    """Every rule against what has been seen. What they record counts as there."""
    presence = Presence(seen, frozenset(rule.name for rule in rules if not rule.alert))
    findings: list[Finding] = []
    skipped = []
    for rule in rules:
        try:
            findings += _examine(rule, presence)
        except TooLarge as fault:
            skipped.append((rule, str(fault)))
    return Examination(len(rules), tuple(findings), tuple(skipped))


def _examine(rule: LoadedRule, presence: Presence) -> Iterator[Finding]:
    try:
        tree = parse(rule.query)
    except Unreadable as fault:
        why = "Prometheus does not load a file that holds it"
        yield Finding(rule, "cannot be read", str(fault), why, "what `promtool check rules` accepts")
        return
    lacks = dict.fromkeys(presence.lacking(tree))
    if lacks:
        what = ", and ".join(lack.what for lack in lacks)
        instead = "; or ".join(dict.fromkeys(lack.instead for lack in lacks))
        why = "the expression is empty for as long as that is so"
        yield Finding(rule, "never fires" if rule.alert else "records nothing", what, why, instead)
    yield from dict.fromkeys(misleading(rule, tree, presence))
