"""The switchboard: everything outside that the bot can talk to, in plain tables. A new one is a file and a line."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from bot.contracts import Act, Check
from bot.incident.change import Change
from bot.intake.alerts import Message
from bot.intake.reading import Reading
from bot.integrations import alertmanager, change, flags, http, kubernetes, mail, pagerduty, redis, shell, traffic
from bot.integrations.fallback import Voice
from bot.settings import Table

Parse = Callable[[bytes, Reading], Message]
"""The raw body of a webhook and the reading of labels, to the message it brought. Pure; raises Malformed."""

SOURCES: Final[Mapping[str, Parse]] = {
    "alertmanager": alertmanager.parse,
}
"""Alert sources by name: `POST /hooks/NAME`, with a bearer token of FIXFIRST_NAME_TOKENS."""

ParseChange = Callable[[bytes, datetime], Change]
"""The raw body of a webhook and when it came in, to the change it tells of. Pure; raises Malformed."""

CHANGES: Final[Mapping[str, ParseChange]] = {
    change.SOURCE: change.parse,
}
"""Who tells of changes, by name: `POST /hooks/NAME`, with a bearer token of FIXFIRST_NAME_TOKENS."""

ReadVoice = Callable[[str, Table, Callable[[str], str | None]], Voice]
"""A fallback pager's name, its table and the secrets by name, to the pager. Faults go to the table."""

PAGERS: Final[Mapping[str, ReadVoice]] = {
    "mail": mail.Mail.from_table,
    "pagerduty": pagerduty.Integration.from_table,
    "webhook": http.Webhook.from_table,
}
"""Fallback pagers by the `kind` of their `[[pager.fallback]]`."""

ReadTarget = Callable[[str, Mapping[str, Any], Callable[[str], str | None]], tuple[Any, list[str]]]
"""A target's name, its table and the secrets by name, to the target (None when it has faults) and the faults."""

TARGETS: Final[Mapping[str, ReadTarget]] = {
    "endpoints": http.Endpoint.from_toml,
    "flags": flags.Target.from_toml,
    "kubernetes": kubernetes.Target.from_toml,
    "redis": redis.Target.from_toml,
    "traffic": traffic.Target.from_toml,
}
"""What steps of runbooks act on, by the table of `fixfirst.toml` that holds it: `[TABLE.NAME]`."""

ACTS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Act]]]] = {
    "http.request": ("endpoints", http.HttpRequest),
    "flag.set": ("flags", flags.Set),
    "redis.set": ("redis", redis.Set),
    "shell.run": ("commands", shell.Run),
    "traffic.shed": ("traffic", traffic.Shed),
    "traffic.shift": ("traffic", traffic.Shift),
}
"""Kinds of step that change the world: the table of their targets, and what is made of those by name."""

Value = Callable[[str], float | None]
"""A PromQL query's one number; None when there is no data."""

WEIGHING_ACTS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any], Value | None], Act]]]] = {
    "k8s.rollout_undo": ("kubernetes", kubernetes.RolloutUndo),
    "k8s.scale": ("kubernetes", kubernetes.Scale),
    "k8s.restart": ("kubernetes", kubernetes.Restart),
    "k8s.cordon": ("kubernetes", kubernetes.Cordon),
    "k8s.drain": ("kubernetes", kubernetes.Drain),
    "argo.abort": ("kubernetes", kubernetes.Abort),
    "argo.undo": ("kubernetes", kubernetes.ArgoUndo),
}
"""The same for kinds that also measure what load remains; None where no Prometheus is connected."""

CHECKS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Check]]]] = {
    "http.get": ("endpoints", http.Get),
    "k8s.get": ("kubernetes", kubernetes.Get),
    "shell.run": ("commands", shell.Look),
}
"""Kinds of step that only look at a target."""
