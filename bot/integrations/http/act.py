"""Step kind `http.request`: pins what it depends on at the preview, checks it again before it acts, can undo."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bot.contracts import Observed, Permanent, Plan
from bot.incident.redact import holds_secret
from bot.integrations.http.endpoint import Endpoint, Undo, names_in
from bot.integrations.http.fill import fill, fill_url, listed
from bot.integrations.wire import Call


class HttpRequest:
    """`bot.contracts.Act` over the named endpoints."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = {name: endpoint for name, endpoint in endpoints.items() if not endpoint.reads}

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads the live state and renders the request; the fields it depends on are pinned in `before`."""
        endpoint = self._endpoint(args.get("endpoint"))
        given = {name: value for name, value in args.items() if name != "endpoint"}
        if given.keys() != endpoint.needs:
            raise Permanent(
                f"the endpoint '{endpoint.name}' takes {listed(endpoint.needs)}, the step gives {listed(given)}"
            )
        call = Call(endpoint)
        observe = endpoint.observe
        watched = fill_url(observe.url, given) if observe else ""
        before = _snapshot(endpoint.pinned, call.look(watched)) if observe else {}
        _no_secret(before)
        values = given | {f"before.{path}": value for path, value in before.items()}
        _nothing_empty(endpoint, values)
        done = fill(dict(observe.done), values) if observe else {}
        request = {
            "endpoint": args["endpoint"],
            **_rendered(endpoint, given, values),
            "observe": {"url": watched, "done": done} if observe else None,
            "undo": _rendered(endpoint.undo, given, values) if endpoint.undo else None,
        }
        return Plan(
            lines=tuple(_lines(request, before, done)),
            request=request,
            before=before,
            risk=endpoint.risk,
            undo=_undo_words(request, before, done) if endpoint.undo else None,
            warnings=tuple(_warnings(before, done)),
        )

    def apply(self, plan: Plan, key: str) -> None:
        """Sends the planned request, unless it is already done; Permanent when the pinned state has moved."""
        endpoint = self._endpoint(plan.request["endpoint"])
        call = Call(endpoint)
        if plan.request["observe"]:
            now = _snapshot(plan.before, call.look(plan.request["observe"]["url"]))
            if _matches(now, plan.request["observe"]["done"]):
                return
            moved = [path for path in plan.before if not _same(now.get(path), plan.before[path])]
            if moved:
                changes = ", ".join(f"{p} was {_shown(plan.before[p])}, is {_shown(now.get(p))}" for p in moved)
                raise Permanent(f"changed since the preview: {changes}; preview again")
        call.act(plan.request, key)

    def observe(self, plan: Plan) -> Observed:
        """DONE when every `done` field matches, NOT_DONE while the snapshot still holds, else UNKNOWN."""
        if not plan.request["observe"]:
            return Observed.UNKNOWN
        endpoint = self._endpoint(plan.request["endpoint"])
        now = _snapshot(plan.before, Call(endpoint).look(plan.request["observe"]["url"]))
        if _matches(now, plan.request["observe"]["done"]):
            return Observed.DONE
        return Observed.NOT_DONE if _matches(now, plan.before) else Observed.UNKNOWN

    def undo(self, plan: Plan, key: str) -> None:
        """Sends the request that restores `plan.before`; Permanent when somebody else has changed it meanwhile."""
        endpoint = self._endpoint(plan.request["endpoint"])
        if not plan.request["undo"]:
            raise Permanent(f"the endpoint '{endpoint.name}' has no undo")
        call = Call(endpoint)
        if plan.request["observe"]:
            now = _snapshot(plan.before, call.look(plan.request["observe"]["url"]))
            for path, ours in plan.request["observe"]["done"].items():
                if not _same(now.get(path), ours) and not _same(now.get(path), plan.before[path]):
                    raise Permanent(
                        f"{path} is {_shown(now.get(path))} now, which this step did not set; look before undoing"
                    )
        call.act(plan.request["undo"], key)

    def _endpoint(self, name: object) -> Endpoint:
        endpoint = self._endpoints.get(str(name))
        if endpoint is None:
            raise Permanent(f"no endpoint '{name}' is configured; known: {listed(self._endpoints)}")
        return endpoint


def _rendered(what: Endpoint | Undo, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": what.method, "url": fill_url(what.url, given), "json": fill(what.json, values)}


def _snapshot(paths: Iterable[str], state: Mapping[str, Any]) -> dict[str, Any]:
    """These fields of the state by dotted path."""
    found: dict[str, Any] = {}
    for path in paths:
        value: Any = state
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise Permanent(f"observe.url answered without the field '{path}'")
            value = value[part]
        found[path] = value
    return found


def _no_secret(before: Mapping[str, Any]) -> None:
    """A plan is shown to people and kept for ever, and blanked it could not be undone."""
    for path, value in before.items():
        if holds_secret({path: value}):
            raise Permanent(
                f"observe.url answers with what looks like a secret in the field '{path}'; pin another field"
            )


def _nothing_empty(endpoint: Endpoint, values: Mapping[str, Any]) -> None:
    """An act built on an empty field (no previous revision) is refused; undo may well restore an empty one."""
    done = dict(endpoint.observe.done) if endpoint.observe else {}
    for name in names_in([endpoint.json, done]):
        if values[name] is None or values[name] == "":
            raise Permanent(f"'{name.removeprefix('before.')}' is empty, so there is nothing to go to")


def _same(left: Any, right: Any) -> bool:
    """JSON equality: `true` is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _matches(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(_same(now.get(path), value) for path, value in wanted.items())


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _lines(request: Mapping[str, Any], before: Mapping[str, Any], done: Mapping[str, Any]) -> Iterator[str]:
    for path, value in done.items():
        yield f"{path}: {_shown(before[path])} → {_shown(value)}"
    for path in (path for path in before if path not in done):
        yield f"{path}: {_shown(before[path])}"
    yield f"{request['method']} {request['url']}"
    if request["json"] is not None:
        yield f"sends {json.dumps(request['json'], ensure_ascii=False)}"


def _undo_words(request: Mapping[str, Any], before: Mapping[str, Any], done: Mapping[str, Any]) -> str:
    restored = ", ".join(f"{path} back to {_shown(before[path])}" for path in done)
    return restored or f"{request['undo']['method']} {request['undo']['url']}"


def _warnings(before: Mapping[str, Any], done: Mapping[str, Any]) -> Iterator[str]:
    if not done:
        yield "cannot be previewed: this endpoint does not say how to look"
    elif _matches(before, done):
        yield "it is so already: nothing will be sent"
