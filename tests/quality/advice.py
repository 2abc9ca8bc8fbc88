"""What a health report suggests, in the words of the labels: `drain`, `rollback`, `gpu-reset`, `restart`, ...

A report suggests an act in two ways: it proposes a runbook whose steps do it, or the text of a check past its limit
says so (an Xid's "drain the GPU, then reset it"). The text does not count where the report refuses the act among what
it advises against; a proposed runbook counts in any case, since a button is pressed whatever stands beside it.
"""

from bot.health import Report

# What the steps of the shipped runbooks do to what serves; a test holds this table against their steps.
RUNBOOKS: dict[str, frozenset[str]] = {
    "drift-threshold-crossed": frozenset(),
    "engine-stalled": frozenset({"restart"}),
    "fall-back-to-smaller-model": frozenset(),
    "gpu-ecc-contained": frozenset({"restart"}),
    "gpu-ecc-uncontained": frozenset({"drain", "gpu-reset"}),
    "gpu-off-the-bus": frozenset({"drain"}),
    "gpu-oom-restart-loop": frozenset({"rollback"}),
    "gpu-thermal-throttling": frozenset({"drain"}),
    "kv-cache-saturated": frozenset({"scale-out"}),
    "promote-model-in-stages": frozenset({"scale-out"}),
    "queue-scale-out": frozenset({"scale-out"}),
    "rollback-model-deploy": frozenset({"rollback"}),
    "serve-from-cache": frozenset({"serve-from-cache"}),
    "telemetry-blind": frozenset(),  # restarts an exporter, which serves nobody
    "token-cost-spike": frozenset(),
    "wrong-answers": frozenset({"rollback"}),
}
_WORDS = {"drain": "drain", "reset": "gpu-reset", "restart": "restart", "roll back": "rollback"}
# A reset needs the GPU empty: who refuses the drain refuses it too.
_REFUSED_WITH = {
    "drain": ("drain",),
    "gpu-reset": ("reset", "drain"),
    "restart": ("restart",),
    "rollback": ("rollback",),
}


def suggested(report: Report) -> dict[str, list[str]]:
    """Each act that the report suggests, with where it does."""
    found: dict[str, list[str]] = {}
    for runbook in report.runbooks:
        for act in RUNBOOKS.get(runbook, ()):
            found.setdefault(act, []).append(f"runbook {runbook}")
    against = " ".join(report.not_advised).lower()
    for check in report.checks:
        if not check.bad or "xid" not in check.text.lower():
            continue
        for word, act in _WORDS.items():
            if word in check.text.lower() and not any(refusal in against for refusal in _REFUSED_WITH[act]):
                found.setdefault(act, []).append(f"{check.check}: {check.text}")
    return found
