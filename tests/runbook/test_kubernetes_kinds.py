"""What the linter says of steps on Kubernetes, each on its line."""

import pytest

from bot.incident.run import Risk
from bot.integrations.kubernetes import Target
from bot.runbook.kinds import Targets
from bot.runbook.render import start
from bot.runbook.shelf import check

BOOK = """\
---
runbook: 1
id: more
title: More replicas
owner: team-a
params:
  ns: {type: k8s_name}
  count: {type: int}
---
## Steps
### Do it
```yaml step
id: act
do: KIND
with:
  target: prod
  WITH
verify: {query: up, expect: "> 0", within: 5m}
undo: UNDO
```
"""
ON = 'namespace: "{{ ns }}"\n  deployment: chat'


def targets() -> Targets:
    table = {"server": "https://k:6443", "token_env": "T", "namespaces": ["inference"]}
    prod, faults = Target.from_toml("prod", table, lambda _: "token")
    assert faults == []
    assert prod is not None
    return {"kubernetes": {"prod": prod}}


def faults(kind: str, written: str, undo: str = "auto") -> list[str]:
    text = BOOK.replace("KIND", kind).replace("WITH", written).replace("UNDO", undo)
    return [f"{fault.line}: {fault.message}" for fault in check(text, "more.md", targets=targets())[1]]


@pytest.mark.parametrize(
    ("kind", "written", "undo"),
    [
        ("k8s.rollout_undo", ON, "auto"),
        ("k8s.rollout_undo", f"{ON}\n  revision: 4", "auto"),
        ("k8s.scale", f'{ON}\n  replicas: "+2"', "auto"),
        ("k8s.scale", f"{ON}\n  replicas: 4", "auto"),
        ("k8s.scale", f'{ON}\n  replicas: "{{{{ count }}}}"', "auto"),
        ("k8s.scale", f'{ON}\n  replicas: "-{{{{ count }}}}"', "auto"),
        ("k8s.restart", ON, "{none: memory}"),
        ("k8s.restart", "namespace: inference\n  pod: chat-1", "{none: memory}"),
        ("k8s.cordon", "node: gpu-7", "auto"),
        ("k8s.drain", "node: gpu-7\n  max_pods: 16", "{none: they stay}"),
        ("argo.abort", "namespace: inference\n  rollout: chat", "auto"),
        ("argo.undo", "namespace: inference\n  rollout: chat", "auto"),
    ],
)
def test_steps_as_they_are_meant_have_no_fault(kind: str, written: str, undo: str) -> None:
    assert faults(kind, written, undo) == []


@pytest.mark.parametrize(
    ("kind", "written", "undo", "fault"),
    [
        ("k8s.rollout_undo", "namespace: other\n  deployment: chat", "auto",
         "17: step 'act': 'prod' takes steps only in these namespaces: inference"),
        ("k8s.rollout_undo", "namespace: inference", "auto",
         "15: step 'act': k8s.rollout_undo needs 'deployment' under with:"),
        ("k8s.rollout_undo", f"{ON}\n  to: 3", "auto",
         "19: step 'act': k8s.rollout_undo does not take 'to'; known: deployment, namespace, revision, target"),
        ("k8s.scale", f'{ON}\n  replicas: "{{{{ ns }}}}"', "auto",
         "19: step 'act': must be a whole number, more or fewer such as \"+2\", or a parameter of type int"),
        ("k8s.scale", f"{ON}\n  replicas: -1", "auto",
         "19: step 'act': must be a whole number, more or fewer such as \"+2\", or a parameter of type int"),
        ("k8s.restart", ON, "auto",
         "20: step 'act': k8s.restart cannot be taken back: write {none: why that is well}, or the id of a step"),
        ("k8s.drain", "node: gpu-7", "auto",
         "19: step 'act': k8s.drain cannot be taken back: write {none: why that is well}, or the id of a step"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(kind: str, written: str, undo: str, fault: str) -> None:
    assert faults(kind, written, undo) == [fault]


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [("== Running", ""), ("!= v3", ""), (">= 2", ""), ("empty", ""), ("> many", "> many"), ("Running", "Running")],
)
def test_a_look_expects_a_number_or_a_text(expect: str, wrong: str) -> None:
    text = BOOK.replace("KIND", "k8s.get").replace("WITH", f'resource: node\n  name: gpu-7\n  expect: "{expect}"')
    text = text.replace('verify: {query: up, expect: "> 0", within: 5m}\nundo: UNDO\n', "")
    said = [f"{fault.line}: {fault.message}" for fault in check(text, "more.md", targets=targets())[1]]
    words = f"19: step 'act': '{wrong}' is not an expectation: write '> 3', '== text', 'empty' or 'nonempty'"
    assert said == ([words] if wrong else [])


def test_what_is_done_decides_the_risk_and_not_the_cluster() -> None:
    for kind, written, undo, risk in (
        ("k8s.cordon", "node: gpu-7", "auto", Risk.REVERSIBLE),
        ("k8s.drain", "node: gpu-7", "{none: they stay}", Risk.DESTRUCTIVE),
    ):
        text = BOOK.replace("KIND", kind).replace("WITH", written).replace("UNDO", undo)
        runbook, wrong = check(text, "more.md", targets=targets())
        assert wrong == []
        assert runbook is not None
        assert start(runbook, {"ns": "a", "count": "1"}, targets=targets()).steps[0].risk is risk


def test_a_parameter_becomes_the_number_of_replicas() -> None:
    for written, rendered in (('"{{ count }}"', 3), ('"+{{ count }}"', "+3"), ("4", 4)):
        text = BOOK.replace("KIND", "k8s.scale").replace("WITH", f"{ON}\n  replicas: {written}").replace("UNDO", "auto")
        runbook, wrong = check(text, "more.md")
        assert wrong == []
        assert runbook is not None
        assert start(runbook, {"ns": "a", "count": "3"}).steps[0].args["replicas"] == rendered
