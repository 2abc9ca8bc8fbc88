"""The pack as files: rules for Prometheus or its operator, their unit tests for promtool, and counters for DCGM."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.health.rules.counters import csv
from bot.health.rules.pack import pack
from bot.health.rules.rule import Alert, Case, Group, Record
from bot.health.rules.watched import Scope

OPERATOR: Final = "fixfirst-inference.prometheusrule.yaml"
COUNTERS: Final = "dcgm-counters.csv"
HEAD: Final = "# Written by `fixfirst rules generate`; a change here is lost when it is written again.\n"


def files(scope: Scope, form: str) -> dict[str, str]:
    """File name -> text: a file of rules for each group and one that tests it.

    `form`: prometheus or operator; the tests read Prometheus' own form, so that is always there.
    """
    groups = pack(scope)
    out = {rules_file(group.name): HEAD + _yaml({"groups": [_group(group, scope.pages_url)]}) for group in groups}
    if form == "operator":
        out[OPERATOR] = HEAD + _yaml(_operator(groups, scope.pages_url))
    out |= {f"{group.name}_test.yml": HEAD + _yaml(tests(group)) for group in groups if group.alerts}
    if "dcgm" in scope.exporters:
        out[COUNTERS] = csv()
    return out


def rules_file(group: str) -> str:
    return f"{group}.rules.yml"


def _operator(groups: Sequence[Group], pages_url: str) -> dict[str, Any]:
    """A PrometheusRule, as prometheus-operator reads it. Its Prometheus may select rules by other labels."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "fixfirst-inference",
            "labels": {"app.kubernetes.io/part-of": "fixfirst", "role": "alert-rules"},
        },
        "spec": {"groups": [_group(group, pages_url) for group in groups]},
    }


def _group(group: Group, pages_url: str) -> dict[str, Any]:
    return {"name": group.name, "rules": [_rule(rule, pages_url) for rule in group.rules]}


def _rule(rule: Record | Alert, pages_url: str) -> dict[str, Any]:
    if isinstance(rule, Record):
        return {
            "record": rule.name,
            "expr": pretty(rule.expr),
            **({"labels": dict(rule.labels)} if rule.labels else {}),
        }
    notes = {"summary": rule.summary, "description": rule.description}
    if rule.runbook:
        notes["runbook"] = rule.runbook
        if pages_url:
            notes["runbook_url"] = f"{pages_url}/runbooks/{rule.runbook}"
    return {
        "alert": rule.name,
        "expr": pretty(rule.expr),
        **({"for": rule.wait} if rule.wait != "0s" else {}),
        "labels": {"severity": rule.severity, **rule.labels},
        "annotations": notes,
    }


def tests(group: Group) -> dict[str, Any]:
    """For promtool. Each case asks for all alerts of its name that fire, with every label of theirs."""
    return {
        "rule_files": [rules_file(name) for name in (*group.needs, group.name)],
        "evaluation_interval": group.tested_every,
        # Left to itself, promtool may look at the alerts before what they read has been recorded.
        "group_eval_order": [*group.needs, group.name],
        "tests": [_test(alert, case) for alert in group.alerts for case in alert.cases],
    }


def _test(alert: Alert, case: Case) -> dict[str, Any]:
    own = ",".join(f'{label}="{value}"' for label, value in alert.labels.items())
    firing = f'ALERTS{{alertname="{alert.name}",alertstate="firing"{"," + own if own else ""}}}'
    expected = [{"labels": _selector(alert, labels), "value": 1} for labels in case.fires]
    return {
        "name": f"{alert.name}: {case.name}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": case.at, "exp_samples": expected}],
    }


def _selector(alert: Alert, labels: Mapping[str, str]) -> str:
    every = {"alertname": alert.name, "alertstate": "firing", "severity": alert.severity, **alert.labels, **labels}
    return "ALERTS{" + ", ".join(f'{label}="{value}"' for label, value in every.items()) + "}"


def pretty(expression: str) -> str:
    """The expression with a line for each of its parts, where it is too long for one."""
    import promql_parser

    return str(promql_parser.parse(expression).prettify())


def _yaml(data: Any) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        """Several lines stand as several lines, and nothing is an alias of something above."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is the library's
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Plain.add_representer(str, text)
    return yaml.dump(data, Dumper=Plain, sort_keys=False, width=120, allow_unicode=True)
