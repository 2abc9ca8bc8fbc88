"""The part of the Kubernetes API that repairs need, over the fleet: its paths, its patches and its refusals.

Refusals are `Status` objects with the codes and reasons of
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

import copy
import hmac
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.workbench.fleet import kube_objects as objects
from bot.workbench.fleet.fleet import Fleet, View
from bot.workbench.fleet.kube_logs import previous_log
from bot.workbench.fleet.kube_objects import Invalid, Json

MAX_BODY: Final = 1_048_576
JSON_PATCH: Final = "application/json-patch+json"
MERGES: Final = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_PATH: Final = re.compile(
    r"/(?:api|apis/(?P<group>[a-z0-9.]+))/(?P<version>v[0-9a-z]+)(?:/namespaces/(?P<namespace>[a-z0-9-]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[a-z0-9.-]+)(?:/(?P<part>[a-z]+))?)?"
)
_SELECTED: Final = re.compile(r"([A-Za-z0-9./_-]+)(==|!=|=)([A-Za-z0-9._-]*)")


class Failure(Exception):
    """A refusal, as the `Status` object it is answered with."""

    def __init__(self, code: int, reason: str, message: str, causes: tuple[Json, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": {"causes": list(causes)} if causes else {},
            "code": code,
        }


@dataclass(frozen=True)
class Kind:
    """A kind of object that is served, and how they are made; `namespaced` ones are asked for in a namespace."""

    kind: str
    made: Callable[[View], Iterator[Json]]
    namespaced: bool = True


def _none(_: View) -> Iterator[Json]:
    return iter(())


KINDS: Final[dict[tuple[str, str, str], Kind]] = {
    ("apps", "v1", "deployments"): Kind("Deployment", objects.deployments),
    ("apps", "v1", "replicasets"): Kind("ReplicaSet", objects.replica_sets),
    ("apps", "v1", "statefulsets"): Kind("StatefulSet", _none),
    ("", "v1", "pods"): Kind("Pod", objects.pods),
    ("", "v1", "nodes"): Kind("Node", objects.nodes, namespaced=False),
    ("policy", "v1", "poddisruptionbudgets"): Kind("PodDisruptionBudget", objects.budgets),
    ("autoscaling", "v1", "horizontalpodautoscalers"): Kind("HorizontalPodAutoscaler", _none),
    ("autoscaling", "v2", "horizontalpodautoscalers"): Kind("HorizontalPodAutoscaler", _none),
}
REVIEWS: Final = ("authorization.k8s.io", "v1", "selfsubjectaccessreviews")


@dataclass(frozen=True)
class Asked:
    """A request that was understood."""

    key: tuple[str, str, str]
    namespace: str
    name: str
    part: str
    dry_run: bool
    query: dict[str, str]

    @property
    def called(self) -> str:
        """As refusals name it: `deployments.apps`."""
        group, _, plural = self.key
        return f"{plural}.{group}" if group else plural


def kubernetes_doors(fleet: Fleet, token: str) -> list[Route]:
    """Routes under /api and /apis; `token` is the service account's."""

    async def answer(request: Request) -> Response:
        try:
            _authorise(request, token)
            asked = _asked(request)
            content = await _content(request)
            if request.method == "GET" and asked.key[2] == "pods" and asked.part == "log":
                with fleet.held() as view:
                    return PlainTextResponse(_log(view, asked))
            with fleet.held() as view:
                status, body = _answer(view, request.method, asked, request.headers.get("content-type", ""), content)
            return JSONResponse(body, status)
        except Failure as failure:
            return JSONResponse(failure.status, failure.code)

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route(f"/{root}/{{path:path}}", answer, methods=methods) for root in ("api", "apis")]


def _authorise(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Failure(401, "Unauthorized", "Unauthorized")


def _asked(request: Request) -> Asked:
    found = _PATH.fullmatch(request.url.path)
    if found is None:
        raise Failure(404, "NotFound", "the server could not find the requested resource")
    key = (found["group"] or "", found["version"], found["plural"])
    if key not in KINDS and key != REVIEWS:
        raise Failure(404, "NotFound", "the server could not find the requested resource")
    query = dict(request.query_params)
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise Failure(400, "BadRequest", f'invalid dryRun value: "{dry_run}"')
    return Asked(key, found["namespace"] or "", found["name"] or "", found["part"] or "", dry_run == "All", query)


async def _content(request: Request) -> Any:
    body = await request.body()
    if len(body) > MAX_BODY:
        raise Failure(413, "RequestEntityTooLarge", "the request is too large")
    try:
        return json.loads(body) if body else {}
    except ValueError as error:
        raise Failure(400, "BadRequest", f"the body is not JSON: {error}") from error


def _answer(view: View, method: str, asked: Asked, kind: str, content: Any) -> tuple[int, Json]:
    if asked.key == REVIEWS and method == "POST":
        if not isinstance(content, dict):
            raise _incomplete()
        return 201, {**content, "kind": "SelfSubjectAccessReview", "status": {"allowed": True}}
    if asked.key == REVIEWS:
        raise _not_allowed()
    if not asked.name:
        if method != "GET":
            raise _not_allowed()
        return 200, _list(view, asked)
    found = _find(view, asked)
    match method, asked.key[2], asked.part:
        case "GET", _, "":
            return 200, found
        case "GET", "deployments", "scale":
            return 200, objects.scale_of(found)
        case "PATCH" | "PUT", "deployments" | "nodes", "status":
            return 200, found  # what stands in there is the fleet's own
        case "PATCH" | "PUT", "deployments" | "nodes", "":
            return 200, _change(view, asked, found, _wanted(method, kind, found, content))
        case "PATCH" | "PUT", "deployments", "scale":
            scale = _wanted(method, kind, objects.scale_of(found), content)
            wanted = copy.deepcopy(found)
            wanted["spec"]["replicas"] = scale.get("spec", {}).get("replicas")
            return 200, objects.scale_of(_change(view, asked, found, wanted))
        case "DELETE", "pods", "":
            return 200, _end(view, asked, found, content)
        case "POST", "pods", "eviction":
            return 201, _evict(view, asked, found, content)
    raise _not_allowed()


def _log(view: View, asked: Asked) -> str:
    """The log of a container that ended; the present one writes nothing that is of interest here."""
    _find(view, asked)
    if asked.query.get("previous") != "true":
        return ""
    lines = asked.query.get("tailLines", "1000")
    text = previous_log(view, asked.name, int(lines) if lines.isdecimal() else 1000)
    if text is None:
        said = f'previous terminated container "vllm" in pod "{asked.name}" not found'
        raise Failure(400, "BadRequest", said)
    return text


def _not_allowed() -> Failure:
    return Failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _incomplete() -> Failure:
    return Failure(400, "BadRequest", "the object is incomplete")


def _list(view: View, asked: Asked) -> Json:
    kind = KINDS[asked.key]
    group, version, _ = asked.key
    chosen = [
        item
        for item in kind.made(view)
        if asked.namespace in ("", item["metadata"].get("namespace", ""))
        and all(matches(item["metadata"].get("labels", {})) for matches in _selected(asked.query, "labelSelector"))
        and all(matches(_fields(item)) for matches in _selected(asked.query, "fieldSelector"))
    ]
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": f"{group}/{version}" if group else version,
        "metadata": {"resourceVersion": str(int(view.now * 10))},
        "items": chosen,
    }


def _selected(query: dict[str, str], name: str) -> Iterator[Callable[[dict[str, str]], bool]]:
    for term in filter(None, query.get(name, "").split(",")):
        found = _SELECTED.fullmatch(term)
        if found is None:
            raise Failure(400, "BadRequest", f"unable to parse requirement: {term}")
        key, sign, value = found.groups()

        def matches(labels: dict[str, str], key: str = key, value: str = value, equal: bool = sign != "!=") -> bool:
            return (labels.get(key) == value) is equal

        yield matches


def _fields(item: Json) -> dict[str, str]:
    return {
        "metadata.name": item["metadata"]["name"],
        "metadata.namespace": item["metadata"].get("namespace", ""),
        "spec.nodeName": item["spec"].get("nodeName", ""),
        "status.phase": item["status"].get("phase", ""),
    }


def _find(view: View, asked: Asked) -> Json:
    kind = KINDS[asked.key]
    for item in kind.made(view):
        meta = item["metadata"]
        if meta["name"] == asked.name and meta.get("namespace", "") == (asked.namespace if kind.namespaced else ""):
            return item
    raise Failure(404, "NotFound", f'{asked.called} "{asked.name}" not found')


def _wanted(method: str, kind: str, found: Json, content: Any) -> Json:
    """The object as the request would have it."""
    if method == "PUT":
        asked_version = content.get("metadata", {}).get("resourceVersion") if isinstance(content, dict) else None
        if not isinstance(content, dict) or "spec" not in content:
            raise _incomplete()
        if asked_version not in (None, "", found["metadata"]["resourceVersion"]):
            message = "Operation cannot be fulfilled: the object has been modified; please apply your changes to it"
            raise Failure(409, "Conflict", message)
        return content
    kind = kind.partition(";")[0].strip()
    if kind == JSON_PATCH:
        return patched(found, content)
    if kind in MERGES:
        merged = _merged(found, content)
        if not isinstance(merged, dict):
            raise _incomplete()
        return merged
    raise Failure(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")


def patched(found: Json, patch: Any) -> Json:
    """A JSON patch (RFC 6902), carried out on a copy; a `test` that fails, or a path that is not there, is a 422."""
    if not isinstance(patch, list):
        raise Failure(400, "BadRequest", "a JSON patch is a list")
    result: Any = copy.deepcopy(found)
    try:
        for change in patch:
            _carry_out(result, change["op"], _steps(change["path"]), change)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        # The real server says no more than this either.
        raise Failure(422, "Invalid", "the server rejected our request due to an error in our request") from error
    assert isinstance(result, dict)
    return result


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _carry_out(target: Any, op: str, steps: list[str], change: Json) -> None:
    for step in steps[:-1]:
        target = target[int(step)] if isinstance(target, list) else target[step]
    last: Any = (len(target) if steps[-1] == "-" else int(steps[-1])) if isinstance(target, list) else steps[-1]
    match op:
        case "test":
            held = target.get(last) if isinstance(target, dict) else target[last]
            if held != change.get("value"):
                raise ValueError(last)
        case "add" if isinstance(target, list):
            target.insert(last, change["value"])
        case "add":
            target[last] = change["value"]
        case "replace":
            _ = target[last]
            target[last] = change["value"]
        case "remove":
            del target[last]
        case _:
            raise ValueError(op)


def _merged(found: Any, patch: Any) -> Any:
    """A merge patch (RFC 7396). Lists are replaced, also in a strategic one: nothing here is patched inside a list."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = found if isinstance(found, dict) else {}
    result = {key: value for key, value in found.items() if key not in patch}
    for key, value in patch.items():
        if value is not None:
            result[key] = _merged(found.get(key), value) if isinstance(value, dict) else value
    return result


def _change(view: View, asked: Asked, found: Json, wanted: Json) -> Json:
    """The object after the change; in a dry run, as it would be."""
    try:
        if asked.key[2] == "nodes":
            objects.change_node(view, asked.name, wanted, dry_run=asked.dry_run)
        else:
            objects.change_deployment(view, asked.name, found, wanted, dry_run=asked.dry_run)
    except Invalid as invalid:
        kind = KINDS[asked.key].kind
        raise Failure(422, "Invalid", f'{kind} "{asked.name}" is invalid: {invalid}') from invalid
    except (KeyError, TypeError, AttributeError) as error:
        raise _incomplete() from error
    return wanted if asked.dry_run else _find(view, asked)


def _end(view: View, asked: Asked, found: Json, content: Any) -> Json:
    _same(asked, found, content)
    if not asked.dry_run:
        objects.end_pod(view, asked.name)
    return found


def _evict(view: View, asked: Asked, found: Json, content: Any) -> Json:
    options = content.get("deleteOptions") or {} if isinstance(content, dict) else {}
    _same(asked, found, options)
    kept = objects.kept_by(view, asked.name)
    if kept:
        message = "Cannot evict pod as it would violate the pod's disruption budget."
        raise Failure(429, "TooManyRequests", message, ({"reason": "DisruptionBudget", "message": kept},))
    if not (asked.dry_run or options.get("dryRun")):
        objects.end_pod(view, asked.name)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _same(asked: Asked, found: Json, options: Any) -> None:
    """Whether it is the very pod that was meant, where the request says which."""
    meant = options.get("preconditions") or {} if isinstance(options, dict) else {}
    uid = meant.get("uid") or asked.query.get("uid")
    held = found["metadata"]["uid"]
    if uid and uid != held:
        message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held}"
        raise Failure(409, "Conflict", f'Operation cannot be fulfilled on pods "{asked.name}": {message}')
