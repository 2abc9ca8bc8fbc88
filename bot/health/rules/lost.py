"""Alerts about GPUs that no longer report. A dead GPU or a hung driver does not turn red: its series stop.

That a GPU is missed for a day, and that a node which left its cluster is not, is recorded first.
"""

from collections.abc import Iterator
from typing import Final

from bot.health.queries.kubernetes import NODES_LEFT
from bot.health.rules.gpu_labels import KEY, LABELS, TEMP, named
from bot.health.rules.proofs import SEEN_GPU, gpu, newer_gpu, steady
from bot.health.rules.rule import Alert, Case, Group, Record, series

GROUP: Final = "fixfirst-gpus-lost"
LAST_SEEN: Final = "gpu:last_seen:timestamp"
COUNT: Final = "node:gpus:count"
LEFT: Final = "node:left_cluster:bool"
MISSED_S: Final = 86_400
"""For a day a GPU that has gone is missed; after that it is how things are."""
BLIND_S: Final = 3_900
"""For so long a silent node is missed of which no cluster says that it is still one of its own: it may be gone for
good."""


def lost(kubernetes: bool) -> Group:
    """`kubernetes`: kube-state-metrics is there to tell which nodes are being worked on, and which have left."""
    records = [Record(LAST_SEEN, _last_seen()), Record(COUNT, _count())]
    if kubernetes:
        records.append(Record(LEFT, _left()))
    return Group(GROUP, (*records, *_alerts(kubernetes)))


def idle_nodes(kubernetes: bool) -> str:
    """What leaves out nodes that are cordoned or have left their cluster, where that can be known."""
    return f" unless on (node) (kube_node_spec_unschedulable == 1) unless on (node) {LEFT}" if kubernetes else ""


def _last_seen() -> str:
    """When each GPU last reported, for a day. It reads itself, since a day of raw samples a minute is dear."""
    now = f"max by ({LABELS}, job, instance) ({named(f'timestamp({TEMP})')})"
    # The newest of each: its labels were others while another workload had it.
    before = f"topk by ({KEY}) (1, last_over_time({LAST_SEEN}[1h]) > time() - {MISSED_S})"
    return f"{now} or {before} unless on ({KEY}) {TEMP}"


def _count() -> str:
    return f"count by (node) (group by (node, {KEY}) ({named(TEMP)}))"


def _left() -> str:
    """Nodes that a cluster had within the day and no longer has. When kube-state-metrics itself is silent, that is not
    known of any."""
    return f"max by (node) ({NODES_LEFT.replace('<memory>', '1h').replace('<day>', '1d')})"


def _alerts(kubernetes: bool) -> Iterator[Alert]:
    idle = idle_nodes(kubernetes)
    gone = f"({LAST_SEEN} unless on ({KEY}) {TEMP})"
    lately = f"{gone} > time() - {BLIND_S}"
    missed = f"({lately} or {gone} and on (node) kube_node_info)" if kubernetes else f"({lately})"
    others = f"on (node) {COUNT}"
    # Another GPU in its place, or the same under another label.
    made_up = f"on (node) ({COUNT} >= max_over_time({COUNT}[1d]))"
    answers = "on (job, instance) (up == 1)"
    other = gpu(TEMP, steady(60), UUID="GPU-1111", gpu="0")
    ended = f"60x20 _x{100}"
    exporter = {"job": "dcgm", "instance": "10.0.0.9:9400"}
    silent = {**gpu(TEMP, ended), **series("up", exporter, steady(0))}
    blind = ({"node": "gpu-node-1"},)
    day = {**gpu(TEMP, "60x20 _x1600"), **gpu(TEMP, steady(60, 1600), UUID="GPU-1111", gpu="0")}
    instead = gpu(TEMP, "_x40 60x100", UUID="GPU-2222")
    cordoned = series("kube_node_spec_unschedulable", {"node": "gpu-node-1"}, steady(1))
    left = series("kube_node_info", {"node": "gpu-node-1"}, "1x18 _x300")
    stayed = series("kube_node_info", {"node": "gpu-node-1"}, steady(1))
    neighbour = series("kube_node_info", {"node": "gpu-node-2"}, steady(1))
    yield Alert(
        name="GPUVanished",
        expr=f"max by ({LABELS}) (({gone} and {others} or {gone} and {answers}) unless {made_up}){idle}",
        severity="critical",
        wait="1m",
        summary="GPU {{ $labels.gpu }} of {{ $labels.node }} stopped reporting",
        description="A dead GPU or a hung driver does not turn red, its series stop. Its exporter still answers, so "
        "it is "
        "the GPU: drain the node.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("one of two GPUs has gone", {**gpu(TEMP, ended), **other}, (SEEN_GPU,)),
            Case(
                "the only GPU has gone, its exporter answers",
                {**newer_gpu(TEMP, ended), **series("up", exporter, steady(1))},
                (SEEN_GPU,),
            ),
            Case("one of two GPUs has been gone for hours", day, (SEEN_GPU,), "300m"),
            Case(
                "another workload had it before",
                {
                    **newer_gpu(TEMP, "60x10 _x100", exported_namespace="batch"),
                    **newer_gpu(TEMP, "_x10 60x10"),
                    **other,
                },
                (SEEN_GPU,),
            ),
            Case("every GPU reports", {**gpu(TEMP, steady(60)), **other}),
            Case("it was gone and is back", {**gpu(TEMP, "60x20 _x20 60x100"), **other}, at="60m"),
            Case("another is in its place", {**gpu(TEMP, ended), **other, **instead}, at="60m"),
            Case("it has been gone for more than a day", day, at="1500m"),
            Case("the whole exporter is silent", silent),
            *(
                (
                    Case("its node is being worked on", {**gpu(TEMP, ended), **other, **cordoned}),
                    Case(
                        "its node has left the cluster",
                        {**gpu(TEMP, ended), **series("up", exporter, steady(1)), **left, **neighbour},
                    ),
                )
                if kubernetes
                else ()
            ),
        ),
    )
    yield Alert(
        name="GPUTelemetryBlind",
        expr=f"max by (node) ({missed} unless {others} unless {answers}){idle}",
        severity="warning",
        wait="2m",
        summary="Nothing is known about the GPUs of {{ $labels.node }}",
        description="No GPU of the node reports: the node, its network or only the exporter is down. The GPUs may be "
        "well; "
        "nobody would see it if not.",
        runbook="telemetry-blind",
        cases=(
            Case("the exporter is silent", silent, blind),
            Case("one of two GPUs has gone", {**gpu(TEMP, ended), **other}),
            Case("the exporter has been silent for three hours", silent, at="200m"),
            *(
                (
                    Case("the node has left the cluster", {**silent, **left, **neighbour}),
                    Case("nothing is known of the cluster either", {**silent, **left}, blind),
                    Case("a node of the cluster has been silent for three hours", {**silent, **stayed}, blind, "200m"),
                )
                if kubernetes
                else ()
            ),
        ),
    )
