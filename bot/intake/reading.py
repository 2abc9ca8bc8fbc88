"""What an alert's labels mean to us: severity, service, model, runbook, group. One small table of settings, no code."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.incident.events import Severity

GROUP_KEY_VERSION = "v1"
"""Part of every group key, so that the recipe can change without old keys meaning something else."""

SEVERITIES: Mapping[str, Severity] = {
    "critical": Severity.SEV1,
    "page": Severity.SEV1,
    "error": Severity.SEV2,
    "high": Severity.SEV2,
    "warning": Severity.SEV3,
    "info": Severity.SEV4,
    "none": Severity.SEV4,
    "sev1": Severity.SEV1,
    "sev2": Severity.SEV2,
    "sev3": Severity.SEV3,
    "sev4": Severity.SEV4,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Which labels mean what; of several names the first that is present counts.

    `group_by` names what one incident is about: alerts that agree in all of these are one group. An alert that has no
    service and no model is grouped by its machine (all that one dying GPU sets off is one incident), else by its name.
    More than `storm_groups` groups in one message are a storm, and one incident by alert name and cluster.
    """

    severity: tuple[str, ...] = ("severity", "priority")
    severities: Mapping[str, Severity] = field(default_factory=lambda: dict(SEVERITIES))
    default_severity: Severity = Severity.SEV3
    service: tuple[str, ...] = ("service", "app", "job")
    model: tuple[str, ...] = ("model_name", "model")
    host: tuple[str, ...] = ("node", "Hostname", "hostname")
    runbook: tuple[str, ...] = ("runbook", "runbook_id")
    group_by: tuple[str, ...] = ("cluster", "namespace", "service", "model")
    storm_groups: int = 10

    @property
    def names(self) -> tuple[str, ...]:
        """All labels that mean something."""
        return (*self.severity, *self.service, *self.model, *self.host, *self.runbook, *self.group_by)

    def severity_of(self, labels: Mapping[str, str]) -> Severity:
        """By the table; an unknown word is the default, never dropped."""
        return self.severities.get(first(labels, self.severity).lower(), self.default_severity)

    def group_of(self, name: str, labels: Mapping[str, str]) -> str:
        """The group key: readable, versioned, at most 300 characters."""
        service, model = first(labels, self.service), first(labels, self.model)
        known = {"service": service, "model": model}
        parts = [(key, known.get(key) or labels.get(key, "")) for key in self.group_by]
        if not service and not model:
            host = first(labels, self.host)
            parts.append(("host", host) if host else ("alertname", name))
        return group_key(parts)

    def storm_of(self, name: str, labels: Mapping[str, str]) -> str:
        """The group key when one message would open too many incidents: by alert name and cluster alone."""
        return group_key([("storm", name), ("cluster", labels.get("cluster", ""))])


def group_key(parts: list[tuple[str, str]]) -> str:
    """`v1:service=chat,model=llama-70b`; empty parts are left out and an over-long key ends in a hash of the rest."""
    key = f"{GROUP_KEY_VERSION}:" + ",".join(f"{name}={value}" for name, value in parts if value)
    if len(key) <= 300:
        return key
    return f"{key[:235]}#{hashlib.sha256(key.encode()).hexdigest()}"


def first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The value of the first of these labels that is present and not empty; else empty."""
    return next((labels[name] for name in names if labels.get(name)), "")
