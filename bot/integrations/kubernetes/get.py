"""Step kind `k8s.get`: looks at one object, or at one value in it."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from bot.contracts import Permanent
from bot.incident.redact import redact
from bot.incident.run import Reading, Sample
from bot.integrations.expectation import judged
from bot.integrations.kubernetes import wire
from bot.integrations.kubernetes.base import Kind, inside, named
from bot.integrations.kubernetes.wire import Missing, Resource, connected

LONGEST: Final = 300
"""Characters that are shown of what was found."""
_KNOWN: Final = (
    wire.DEPLOYMENTS,
    wire.REPLICA_SETS,
    wire.STATEFUL_SETS,
    wire.PODS,
    wire.NODES,
    wire.SCALERS,
    wire.BUDGETS,
    Resource("apps", "v1", "DaemonSet", "daemonsets"),
    Resource("batch", "v1", "Job", "jobs"),
    Resource("", "v1", "Service", "services"),
    Resource("", "v1", "ConfigMap", "configmaps"),
    Resource("", "v1", "Namespace", "namespaces"),
    Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
)
_FULL: Final = re.compile(r"([a-z]+)\.(v[0-9][a-z0-9]*)\.([a-z0-9][a-z0-9.-]*)")
_PART: Final = re.compile(r"(?:\\\.|[^.\\])+")


class Get(Kind):
    """`bot.contracts.Check` over the named clusters."""

    def check(self, args: Mapping[str, Any]) -> Reading:
        """One look. Without `expect` it holds when there is something; nothing is never a yes, but to `empty`."""
        target, resource, name = self._target(args.get("target")), _resource(str(args["resource"])), named(args, "name")
        namespace = inside(target, named(args, "namespace")) if "namespace" in args else ""
        expect, path = str(args.get("expect", "nonempty")), str(args.get("path", ""))
        what = f"{resource.called} {f'{namespace}/' if namespace else ''}{name}"
        with connected(target) as session:
            try:
                found: Any = session.get(resource, name, namespace)
            except Missing as missing:
                sample = Sample.HOLDS if expect == "empty" else Sample.INCONCLUSIVE
                return Reading(sample, f"{missing} (want {expect})")
        if not path:
            return Reading(_of_presence(found, expect), f"{what} is there (want {expect})")
        value = _at(found, path)
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words = redact(f"{path}={shown}").removeprefix(f"{path}=")
        words = words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
        text = f"{path} of {what} is {'not there' if value is None else words} (want {expect})"
        return Reading(judged(value, expect), text)


def _resource(text: str) -> Resource:
    """A well-known kind by either number, or any by plural.version.group, as kubectl takes it."""
    wanted = text.lower()
    if wanted.partition(".")[0] in ("secret", "secrets"):
        raise Permanent("secrets are not looked at")
    for known in _KNOWN:
        if wanted in (known.plural, known.kind.lower(), known.called):
            return known
    full = _FULL.fullmatch(wanted)
    if not full:
        known_words = ", ".join(sorted(known.plural for known in _KNOWN))
        raise Permanent(f"{text[:60]!r} is no resource: write one of {known_words}, or plural.version.group")
    return Resource(full[3], full[2], full[1], full[1])


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path, a number in a list; None where there is nothing. A dot in a name is written \\."""
    for part in _PART.findall(path):
        name = part.replace("\\.", ".")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _of_presence(value: Any, expect: str) -> Sample:
    if expect not in ("empty", "nonempty"):
        raise Permanent(f"{expect[:40]!r} needs a path: an object as a whole is only empty or nonempty")
    return judged(value, expect)
