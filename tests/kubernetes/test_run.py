"""A runbook from its text to the last event, with a cluster behind it: the courier's hands on the real kinds."""

from datetime import timedelta

import pytest

from bot.contracts import Again, Attempt
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.run import Reading, Sample
from bot.integrations.kubernetes import Get, RolloutUndo
from bot.runbook.courier import Courier
from bot.runbook.render import start
from bot.runbook.shelf import check
from tests.core.case import JONAS, Case
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.test_rollout_undo import image, two_revisions

pytestmark = pytest.mark.kubernetes

BOOK = """\
---
runbook: 1
id: back
title: Roll back
owner: team-a
params:
  ns: {type: k8s_name}
---
## Steps
### Is it there?
```yaml step
id: look
do: k8s.get
with: {target: lab, resource: deployment, namespace: "{{ ns }}", name: chat, path: status.readyReplicas, expect: "> 0"}
```
### Back
```yaml step
id: back
do: k8s.rollout_undo
with: {target: lab, namespace: "{{ ns }}", deployment: chat}
verify: {query: errors, expect: "< 0.01", within: 5m}
undo: auto
```
"""


def test_a_runbook_rolls_a_deployment_back_and_forward(cluster: Cluster) -> None:
    two_revisions(cluster)
    targets = {"lab": cluster.target()}
    runbook, faults = check(BOOK, "back.md", targets={"kubernetes": targets})
    assert faults == []
    assert runbook is not None
    begun = start(runbook, {"ns": cluster.namespace}, targets={"kubernetes": targets})
    fine = Reading(Sample.HOLDS, "0 (want < 0.01)")
    courier = Courier({"k8s.rollout_undo": RolloutUndo(targets)}, {"k8s.get": Get(targets)}, lambda query, expect: fine)
    case = Case().alerts(firing=3, new=3).do(cmd.Acknowledge)
    case.do(
        cmd.StartRun,
        run="r1",
        runbook="back",
        title="B",
        source_digest="0" * 64,
        target=begun.target,
        steps=begun.steps,
    )

    def carry(effect: ef.StepEffect) -> list[ev.Event] | Again:
        result = courier.deliver(effect, case.inc, Attempt("job", 1, case.now, {}, case.now - timedelta()))
        if not isinstance(result, Again):
            case.receipt(*result)
            return list(result)
        if result.events:
            case.receipt(*result.events)
        case.now = result.at
        return result

    (looked,) = carry(ef.CheckStep("r1", "look"))  # type: ignore[misc]
    assert isinstance(looked, ev.StepSucceeded)
    carry(ef.PlanStep("r1", "back"))
    case.do(cmd.ApproveStep, by=JONAS, run="r1", step="back", digest=case.inc.runs["r1"].step("back").plan_digest)
    assert carry(ef.ApplyStep("r1", "back", 1)) == [ev.StepApplied("r1", "back", 1, None, True)]
    again = carry(ef.ContinueStep("r1", "back"))
    assert isinstance(again, Again)
    cluster.settled()
    assert carry(ef.ContinueStep("r1", "back")) == [ev.StepCompleted("r1", "back")]
    assert carry(ef.VerifyStep("r1", "back")) == [ev.StepSucceeded("r1", "back", "0 (want < 0.01)")]
    assert image(cluster) == "registry/llm:v1"
    case.do(cmd.UndoStep, run="r1", step="back")
    assert carry(ef.UndoStep("r1", "back")) == [ev.StepUndone("r1", "back")]
    assert image(cluster) == "registry/llm:v2"
