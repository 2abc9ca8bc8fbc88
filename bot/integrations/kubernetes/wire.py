"""The few calls to a cluster that steps need, by lightkube; what it answers is plain JSON, and what it refuses ours.

Objects stay JSON, since lightkube's models know one version of Kubernetes and would leave out of a template that is
sent back whatever another version has in it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from bot.contracts import Permanent, Transient
from bot.incident.plain import one_line
from bot.incident.redact import redact
from bot.integrations.kubernetes.target import Target

Json = Mapping[str, Any]
Patch = list[dict[str, Any]]
"""A JSON patch, RFC 6902."""
Got = TypeVar("Got")

FIELD_MANAGER: Final = "fixfirst"
LOG_BYTES: Final = 64 * 1024
"""Kept of the end of a log. Kubernetes' own limit would cut the end off: it counts from the first of the lines."""
_LATER: Final = frozenset({408, 429})
_WRITES: Final = frozenset({"patch", "post", "delete"})
_BUDGET: Final = "DisruptionBudget"


class Missing(Permanent):
    """There is no such object, or no such kind of object."""


class Moved(Permanent):
    """What a patch was made for is no longer so, or the server does not take the patch: look again to tell which."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: `apps`, `v1`, `Deployment`, `deployments`; the core group is empty."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def called(self) -> str:
        """As roles and refusals name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments")
REPLICA_SETS: Final = Resource("apps", "v1", "ReplicaSet", "replicasets")
STATEFUL_SETS: Final = Resource("apps", "v1", "StatefulSet", "statefulsets")
PODS: Final = Resource("", "v1", "Pod", "pods")
NODES: Final = Resource("", "v1", "Node", "nodes")
SCALERS: Final = Resource("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
BUDGETS: Final = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
BUDGETS_BEFORE_1_21: Final = Resource("policy", "v1beta1", "PodDisruptionBudget", "poddisruptionbudgets")
_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
# Without a version the server takes the one it knows: policy/v1 comes with 1.22, policy/v1beta1 ends with 1.25.
_EVICTIONS: Final = Resource("", "", "Eviction", "pods")


class Session:
    """A connection for one preview, act, look or undo. An empty namespace is none, or all of them in a list."""

    def __init__(self, target: Target, client: Any, deadline: float) -> None:
        self.target = target
        self._client = client
        self._deadline = deadline

    @property
    def over(self) -> bool:
        """Whether the time of the target is over."""
        return self.left <= 0

    @property
    def left(self) -> float:
        """Seconds of the target's time."""
        return self._deadline - time.monotonic()

    def get(self, resource: Resource, name: str, namespace: str = "") -> Json:
        """The object; Missing when there is none."""
        what = f"{resource.kind} {name}" + (f" in {namespace}" if namespace else "")
        found: Json = self._call("get", resource, name, namespace, what=what)
        return found

    def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Json]:
        """All objects that fit the selectors."""
        params = {"labelSelector": labels or None, "fieldSelector": fields or None}
        path = namespace or "*"
        with self._failures("list", resource, resource.called):
            made = _of(resource, namespaced=True)
            return list(self._client.list(self._client.prepare_request("list", made, namespace=path, params=params)))

    def patch(self, resource: Resource, name: str, namespace: str, patch: Patch, *, dry_run: bool = False) -> None:
        """Changes the object; Moved when it is no longer what the patch tests for."""
        kind = "application/json-patch+json"
        self._call("patch", resource, name, namespace, body=patch, kind=kind, dry_run=dry_run)

    def set_status(self, resource: Resource, name: str, namespace: str, status: Json, *, dry_run: bool = False) -> None:
        """Merges into the object's status."""
        body = {"status": dict(status)}
        kind = "application/merge-patch+json"
        self._call("patch", resource, name, namespace, body=body, kind=kind, dry_run=dry_run, part="status")

    def evict(self, name: str, namespace: str, uid: str, *, dry_run: bool = False) -> str:
        """Asks that this very pod go; what keeps it, or nothing. Missing when it is gone already."""
        body = {"metadata": {"name": name, "namespace": namespace}, "deleteOptions": {"preconditions": {"uid": uid}}}
        try:
            self._call("post", _EVICTIONS, name, namespace, body=body, dry_run=dry_run, part="eviction", what=name)
        except Moved as moved:
            raise Missing(str(moved)) from moved
        except _Kept as kept:
            return str(kept)
        return ""

    def delete_pod(self, name: str, namespace: str, uid: str) -> None:
        """Deletes this very pod, whatever a budget says. Missing when it is gone already."""
        try:
            self._call("delete", PODS, name, namespace, params={"uid": uid}, what=name)
        except Moved as moved:
            raise Missing(str(moved)) from moved

    def log(self, pod: str, namespace: str, container: str, lines: int) -> Sequence[str]:
        """The last lines of the container that ended before the present one, 64 KiB at most; Missing without one."""
        made = _of(PODS, namespaced=True, part="log")
        params = {"previous": "true", "tailLines": lines, "container": container or None}
        with self._failures("get", PODS, f"the log of {pod}"):
            request = self._client.prepare_request("get", made, name=pod, namespace=namespace, params=params)
            answer = self._client.send(self._client.build_adapter_request(request))
            self._client.raise_for_status(answer)
            return bytes(answer.content[-LOG_BYTES:]).decode("utf-8", "replace").splitlines()

    def may(self, verb: str, resource: Resource, namespace: str = "", part: str = "") -> bool:
        """Whether the bot's account may do this."""
        asked = {"verb": verb, "group": resource.group, "resource": resource.plural, "subresource": part or None}
        attributes = {key: value for key, value in {**asked, "namespace": namespace}.items() if value}
        answer = self._call("post", _REVIEWS, body={"spec": {"resourceAttributes": attributes}})
        return bool(answer["status"]["allowed"])

    def _call(
        self,
        method: str,
        resource: Resource,
        name: str = "",
        namespace: str = "",
        *,
        body: Any = None,
        kind: str = "",
        params: Json | None = None,
        dry_run: bool = False,
        part: str = "",
        what: str = "",
    ) -> Any:
        made = _of(resource, namespaced=bool(namespace), part=part)
        asked = {**(params or {}), "dryRun": "All" if dry_run else None}
        if method == "patch":
            asked["fieldManager"] = FIELD_MANAGER
        with self._failures(method, resource, what or f"{resource.kind} {name}"):
            answer = self._client.request(
                method,
                made,
                made(body) if method == "post" else body,
                name or None,
                namespace or None,
                headers={"Content-Type": kind} if kind else None,
                params=asked,
            )
            if method != "delete" and "kind" not in answer:
                raise ValueError("no object")
            return answer

    @contextmanager
    def _failures(self, method: str, resource: Resource, what: str) -> Iterator[None]:
        """The client's exceptions as ours."""
        import httpx2
        import msgspec
        from lightkube.core.exceptions import ApiError, ConfigError

        where, writes = self.target.where, method in _WRITES
        try:
            yield
        except ApiError as error:
            raise self._refused(error, method, what) from error
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            if status == 404:
                raise Missing(f"{where} knows no {resource.called}") from error
            if status in _LATER or status >= 500:
                raise Transient(f"{where} answered {status}", ambiguous=writes) from error
            what = f"{where} answered {status}; is that address really a Kubernetes API?"
            raise Permanent(what, ambiguous=writes and status < 400) from error
        except ConfigError as error:
            raise Permanent(f"{where} is not set up well: {_words(error)}") from error
        except (httpx2.HTTPError, msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as error:
            # Nobody says no by a good answer that we cannot read: what could act may have acted.
            strange = f"{where} does not answer like Kubernetes ({type(error).__name__})"
            raise Permanent(strange, ambiguous=writes) from error

    def _refused(self, error: Any, method: str, what: str) -> Exception:
        status, where, said = error.status, self.target.where, _words(error)
        code = error.response.status_code
        details = status.details
        causes = [cause.message or "" for cause in (details.causes or [] if details else []) if cause.reason == _BUDGET]
        if code == 404:
            return Missing(f"there is no {what}")
        if code == 401:
            return Permanent(f"{where} does not accept the bot's token")
        if code == 403:
            return Permanent(f"{where} does not let the bot do this: {said}")
        if code in (409, 422):
            return Moved(f"{where} refuses: {said}")
        if causes or "disruption budget" in said:
            return _Kept(_words("; ".join(causes) or said))
        if "PodDisruptionBudget" in said:
            return _Kept(said)  # more than one budget for a pod: a 500 that never passes
        if code in _LATER or code >= 500:
            wish = error.response.headers.get("Retry-After")
            after = float(wish) if code == 429 and wish else None
            return Transient(f"{where} answered {code}: {said}", retry_after=after, ambiguous=method in _WRITES)
        return Permanent(f"{where} refuses: {said}")


class _Kept(Exception):
    """A budget keeps the pod."""


@contextmanager
def connected(target: Target) -> Iterator[Session]:
    """A session that is over when the target's time is, however slowly the other side drips."""
    # It takes a third of a second to import, and the bot must accept its first webhook within two.
    from lightkube.config.client_adapter import ConnectionParams, verify_cluster
    from lightkube.core.generic_client import GenericSyncClient

    from bot.integrations.kubernetes.transport import Bounded

    deadline = time.monotonic() + target.timeout
    config = _config(target)
    context = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
    transport = Bounded(target.where, target.timeout, deadline, context)
    # Its Client would do, but for this: it cannot delete a pod by uid.
    client: Any = GenericSyncClient(ConnectionParams(trust_env=False, transport=transport), config)
    try:
        yield Session(target, client, deadline)
    finally:
        client.close()


def read(objects: Sequence[Json], made: Callable[[Json], Got], target: Target) -> tuple[Got, ...]:
    """Facts out of JSON; what is not as Kubernetes has it is the other side's fault, not a bug of ours."""
    try:
        return tuple(made(item) for item in objects)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Permanent(f"{target.where} does not answer like Kubernetes ({type(error).__name__})") from error


def _config(target: Target) -> Any:
    """How the cluster is reached, read anew each time: tokens and files are renewed under the bot."""
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.config.models import Cluster, User
    from lightkube.core.exceptions import ConfigError

    try:
        if target.server:
            cluster = Cluster(server=target.server, certificate_auth=target.ca or None)
            return KubeConfig.from_one(cluster=cluster, user=User(token=target.token.reveal())).get()
        if target.in_cluster:
            return KubeConfig.from_service_account().get()
        config = KubeConfig.from_file(target.kubeconfig).get(target.context)
    except KeyError as error:
        raise Permanent(f"{target.name}: {error} is not set, so this is no pod or the kubeconfig names it") from error
    except (ConfigError, OSError, ValueError) as error:
        raise Permanent(f"{target.name} is not set up well: {_words(error)}") from error
    if config is None or config.user is None or config.user.exec or config.user.auth_provider:
        raise Permanent(f"{target.name}: the context names no user with a token or certificate; give it one")
    return config


@lru_cache(maxsize=64)
def _of(resource: Resource, *, namespaced: bool, part: str = "") -> Any:
    """The client's class for a kind of object; always the same one, since the client keeps each that it has listed."""
    from lightkube.core import resource as r
    from lightkube.generic_resource import Generic, create_api_info

    group, version, kind, plural = resource.group, resource.version, resource.kind, resource.plural
    info = create_api_info(group, version, kind, plural)
    if part:
        parent = PODS if part == "eviction" else resource
        info.parent = r.ResourceDef(parent.group, parent.version, parent.kind)
        info.action = part
    base = r.NamespacedResourceG if namespaced else r.GlobalResource
    return type(kind, (base, Generic), {"_api_info": info})


def _words(error: object) -> str:
    """What the server said, as one short line."""
    return redact(one_line(str(error)))[:300]
