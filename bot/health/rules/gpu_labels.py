"""GPU series under one set of labels, whatever the exporter and its scrape call them.

`Hostname` became `hostname`, `--use-old-namespace` writes `uuid` and `pod_namespace`, and a scrape without honorLabels
moves the workload's namespace to `exported_namespace`. What names the exporter, not whom it speaks of, is left out:
`job`, `instance`, and the `service` and `namespace` that a ServiceMonitor adds.
"""

from typing import Final

KEY: Final = "UUID, uuid"
LABELS: Final = f"{KEY}, gpu, node, namespace, service, model_name"
TEMP: Final = "DCGM_FI_DEV_GPU_TEMP"
EXPORTER: Final = ".*dcgm.*"
"""What the pod and the Service of the exporter itself are called."""


def named(expression: str) -> str:
    for label, source, told, value in (
        # Of the exporter's own pod and Service; the namespace of a GPU's user, where it has one, comes after.
        ("namespace", "pod", EXPORTER, ""),
        ("service", "service", EXPORTER, ""),
        ("namespace", "exported_namespace", "(.+)", "$1"),
        ("namespace", "pod_namespace", "(.+)", "$1"),
        ("node", "hostname", "(.+)", "$1"),
        ("node", "Hostname", "(.+)", "$1"),
    ):
        expression = f'label_replace({expression}, "{label}", "{value}", "{source}", "{told}")'
    return expression


def per_gpu(expression: str, more: str = "") -> str:
    return f"max by ({LABELS}{more}) ({named(expression)})"
