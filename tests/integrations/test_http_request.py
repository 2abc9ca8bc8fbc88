"""`http.request` against a real HTTP server on the loopback: what goes over the wire and what comes of the answers."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.contracts import Observed, Permanent, Transient
from bot.incident.run import Risk
from bot.integrations.http import Endpoint, HttpRequest
from tests.clocked import by_the_clock
from tests.servers import Answering, http_server

TOKEN = "canary-7f3a"
ROLLBACK = {"endpoint": "model-deploy", "model": "llama-70b"}


@dataclass
class DeployService:
    """A small deploy service: `state` is what it shows, `scripted` answers come first, `heard` is what was sent."""

    state: dict[str, Any] = field(default_factory=lambda: {"revision": "r42", "previous": "r41", "rolling_to": None})
    scripted: dict[str, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    heard: list[tuple[str, str, Mapping[str, str], Any]] = field(default_factory=list)
    address: str = ""

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.heard.append((method, path, headers, body))
        if method in self.scripted:
            return self.scripted[method]
        if method == "POST":
            self.state |= {"revision": body["revision"], "previous": self.state["revision"]}
        return 200, {}, json.dumps(self.state).encode()

    def sent(self, method: str = "POST") -> list[Any]:
        return [body for verb, _, _, body in self.heard if verb == method]


@pytest.fixture
def service() -> Iterator[DeployService]:
    service = DeployService()

    class Handler(Answering):
        def _serve(self) -> None:
            body = self.sent()
            status, headers, answer = service.answer(
                self.command, self.path, dict(self.headers), json.loads(body) if body else None
            )
            self.reply(status, answer, headers)

        do_GET = do_POST = do_PUT = _serve

    with http_server(Handler) as port:
        service.address = f"http://127.0.0.1:{port}"
        yield service


def table(address: str, **changes: Any) -> dict[str, Any]:
    model = f"{address}/v1/models/{{model}}"
    return {
        "risk": "reversible",
        "method": "POST",
        "url": f"{model}/deploy",
        "json": {"revision": "{before.previous}"},
        "token_env": "DEPLOY_TOKEN",
        "observe": {"url": model, "done": {"revision": "{before.previous}"}, "pin": ["rolling_to"]},
        "undo": {"json": {"revision": "{before.revision}"}},
    } | changes


def endpoint_of(table: Mapping[str, Any]) -> Endpoint:
    endpoint, faults = Endpoint.from_toml("model-deploy", table, {"DEPLOY_TOKEN": TOKEN}.get)
    assert faults == []
    assert endpoint is not None
    return endpoint


@pytest.fixture
def endpoint(service: DeployService) -> Endpoint:
    return endpoint_of(table(service.address))


@pytest.fixture
def act(endpoint: Endpoint) -> HttpRequest:
    return HttpRequest({"model-deploy": endpoint})


def test_the_preview_pins_the_revision_and_changes_nothing(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    assert plan.lines == (
        "revision: r42 → r41",
        "previous: r41",
        "rolling_to: null",
        f"POST {service.address}/v1/models/llama-70b/deploy",
        'sends {"revision": "r41"}',
    )
    assert (plan.risk, plan.undo, plan.warnings) == (Risk.REVERSIBLE, "revision back to r42", ())
    assert plan.before == {"revision": "r42", "previous": "r41", "rolling_to": None}
    assert [verb for verb, *_ in service.heard] == ["GET"]


def test_apply_does_it_observe_sees_it_and_undo_takes_it_back(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    assert act.observe(plan) is Observed.NOT_DONE
    act.apply(plan, "run-1/roll-back/1")
    assert service.state["revision"] == "r41"
    assert act.observe(plan) is Observed.DONE
    act.undo(plan, "run-1/roll-back/undo")
    assert service.state["revision"] == "r42"
    assert service.sent() == [{"revision": "r41"}, {"revision": "r42"}]
    keys = [headers["Idempotency-Key"] for verb, _, headers, _ in service.heard if verb == "POST"]
    assert keys == ["run-1/roll-back/1", "run-1/roll-back/undo"]


def test_the_token_goes_with_every_request_and_into_no_plan(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    act.apply(plan, "k")
    assert {headers["Authorization"] for _, _, headers, _ in service.heard} == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps([plan.lines, dict(plan.request), dict(plan.before), plan.undo])
    assert TOKEN not in repr(act.__dict__)


def test_a_plan_out_of_the_journal_works_like_the_fresh_one(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    stored = json.loads(json.dumps({"request": plan.request, "before": plan.before}))
    act.apply(replace(plan, **stored), "k")
    assert service.state["revision"] == "r41"


def test_a_second_apply_does_not_go_back_another_revision(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    act.apply(plan, "k")
    act.apply(plan, "k")
    assert service.sent() == [{"revision": "r41"}]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"revision": "r43"}, "revision was r42, is r43"), ({"rolling_to": "r43"}, "rolling_to was null, is r43")],
)
def test_what_moved_since_the_preview_must_be_previewed_again(
    act: HttpRequest, service: DeployService, change: dict[str, str], words: str
) -> None:
    plan = act.plan(ROLLBACK)
    service.state |= change
    with pytest.raises(Permanent, match=f"changed since the preview: {words}; preview again"):
        act.apply(plan, "k")
    assert service.sent() == []
    assert act.observe(plan) is Observed.UNKNOWN


def test_undo_does_not_overwrite_what_somebody_else_deployed_meanwhile(
    act: HttpRequest, service: DeployService
) -> None:
    plan = act.plan(ROLLBACK)
    act.apply(plan, "k")
    service.state["revision"] = "r43"
    with pytest.raises(Permanent, match="revision is r43 now, which this step did not set"):
        act.undo(plan, "u")
    assert service.sent() == [{"revision": "r41"}]


def test_undo_may_be_sent_again_when_its_answer_was_lost(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    act.apply(plan, "k")
    act.undo(plan, "u")
    act.undo(plan, "u")
    assert service.state["revision"] == "r42"


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_previous_revision_there_is_nothing_to_go_back_to(
    act: HttpRequest, service: DeployService, nothing: str | None
) -> None:
    service.state["previous"] = nothing
    with pytest.raises(Permanent, match="'previous' is empty, so there is nothing to go to"):
        act.plan(ROLLBACK)


def test_a_state_without_the_pinned_field_is_refused(act: HttpRequest, service: DeployService) -> None:
    del service.state["previous"]
    with pytest.raises(Permanent, match="answered without the field 'previous'"):
        act.plan(ROLLBACK)


def test_a_state_that_holds_a_secret_where_a_plan_would_keep_it_is_refused(
    act: HttpRequest, service: DeployService
) -> None:
    service.state["previous"] = "r41?token=canary-1234"
    with pytest.raises(Permanent, match="looks like a secret in the field 'previous'; pin another field"):
        act.plan(ROLLBACK)


def test_a_preview_of_what_is_so_already_says_it(act: HttpRequest, service: DeployService) -> None:
    service.state["previous"] = "r42"
    plan = act.plan(ROLLBACK)
    assert plan.warnings == ("it is so already: nothing will be sent",)
    act.apply(plan, "k")
    assert service.sent() == []


def test_fields_inside_objects_and_numbers_keep_their_place_and_type(service: DeployService) -> None:
    service.state = {"spec": {"replicas": 3, "paused": True}}
    scale = endpoint_of(
        table(
            service.address,
            json={"replicas": "{count}", "was": "from {before.spec.replicas}"},
            observe={"url": f"{service.address}/m", "done": {"spec.replicas": "{count}", "spec.paused": True}},
            undo={"json": {"replicas": "{before.spec.replicas}"}},
            url=f"{service.address}/m/scale",
        )
    )
    plan = HttpRequest({"scale": scale}).plan({"endpoint": "scale", "count": 5})
    assert plan.request["json"] == {"replicas": 5, "was": "from 3"}
    assert plan.request["undo"]["json"] == {"replicas": 3}
    assert plan.undo == "spec.replicas back to 3, spec.paused back to true"


def test_true_is_not_taken_for_one(service: DeployService) -> None:
    service.state = {"paused": True}
    observe = {"url": f"{service.address}/m", "done": {"paused": 1}}
    pause = endpoint_of(table(service.address, url=f"{service.address}/m/pause", json={}, observe=observe, undo={}))
    act = HttpRequest({"pause": pause})
    assert act.observe(act.plan({"endpoint": "pause"})) is Observed.NOT_DONE


def test_an_endpoint_that_cannot_be_observed_says_so_and_stays_unknown(service: DeployService) -> None:
    blind = endpoint_of(
        {"method": "PUT", "url": f"{service.address}/flush/{{cache}}", "token_env": "DEPLOY_TOKEN", "timeout": "9s"}
    )
    act = HttpRequest({"flush": blind})
    plan = act.plan({"endpoint": "flush", "cache": "answers"})
    assert (plan.risk, plan.undo) == (Risk.DESTRUCTIVE, None)
    assert plan.warnings == ("cannot be previewed: this endpoint does not say how to look",)
    assert service.heard == []
    act.apply(plan, "k")
    assert service.sent("PUT") == [None]
    assert act.observe(plan) is Observed.UNKNOWN
    with pytest.raises(Permanent, match="has no undo"):
        act.undo(plan, "u")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"endpoint": "nope", "model": "m"}, "no endpoint 'nope' is configured; known: model-deploy"),
        ({"endpoint": "model-deploy"}, "takes model, the step gives nothing"),
        (ROLLBACK | {"force": "yes"}, "takes model, the step gives force, model"),
    ],
)
def test_a_step_that_does_not_fit_its_endpoint_is_refused(act: HttpRequest, args: dict[str, str], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        act.plan(args)


# --- hostile values


@given(
    st.text()
    | st.sampled_from(
        ["../../secrets", "..", "a/../b", "..\\..", "@evil.example", "?x=1", "#", "a\r\nHost: x", "%2e%2e"]
    )
)
@example("meta/llama-70b")
def test_no_value_changes_where_a_request_goes(value: str) -> None:
    blind = endpoint_of(
        {"method": "POST", "url": "https://host:8443/v1/models/{model}/flush?all=1", "token_env": "DEPLOY_TOKEN"}
    )
    try:
        plan = HttpRequest({"flush": blind}).plan({"endpoint": "flush", "model": value})
    except Permanent:
        assert not value or not value.isprintable() or {".", ".."} & set(re.split(r"[/\\]", value))
        return
    parts = urlsplit(plan.request["url"])
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "host:8443", "all=1", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "v1", "models", value, "flush"]


@pytest.mark.parametrize("value", ["..", ".", "a/../b", "..\\..", "", "a\x00"])
def test_a_value_that_could_climb_the_path_is_refused(act: HttpRequest, service: DeployService, value: str) -> None:
    with pytest.raises(Permanent, match="model cannot be"):
        act.plan(ROLLBACK | {"model": value})
    assert service.heard == []


def test_a_slash_in_a_model_name_is_one_segment_on_the_wire(act: HttpRequest, service: DeployService) -> None:
    act.plan(ROLLBACK | {"model": "meta/llama 70b"})
    assert service.heard[0][1] == "/v1/models/meta%2Fllama%2070b"


def test_the_token_does_not_follow_an_endpoint_to_another_host(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    moved = HttpRequest({"model-deploy": endpoint_of(table("http://127.0.0.1:9"))})
    with pytest.raises(Permanent, match="has moved since the preview"):
        moved.apply(plan, "k")
    assert len(service.heard) == 1


def test_proxies_of_the_environment_are_not_used(
    act: HttpRequest, monkeypatch: pytest.MonkeyPatch, service: DeployService
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    act.plan(ROLLBACK)
    assert len(service.heard) == 1


# --- answers that are not the hoped-for one


def test_a_redirect_is_not_followed(act: HttpRequest, service: DeployService) -> None:
    service.scripted["GET"] = (302, {"Location": f"{service.address}/elsewhere"}, b"")
    with pytest.raises(Permanent, match="answered 302: redirects are not followed"):
        act.plan(ROLLBACK)
    assert len(service.heard) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            422,
            b'{"error": {"message": "No revision r41.", "hint": "Deploy r40."}}',
            "answered 422: No revision r41. Deploy r40.",
        ),
        (403, b'{"detail": "not yours"}', "answered 403: not yours"),
        (404, b"<html>nginx</html>", "answered 404"),
        (400, b'{"error": "bad token canary-7f3a"}', r"answered 400: bad token \*\*\*"),
        (409, b"busy\nwith\x1b[31m another\x00", "answered 409: busy with"),
    ],
)
def test_a_refusal_is_final_and_in_the_servers_own_words(
    act: HttpRequest, service: DeployService, status: int, body: bytes, words: str
) -> None:
    plan = act.plan(ROLLBACK)
    service.scripted["POST"] = (status, {}, body)
    with pytest.raises(Permanent, match=words) as refused:
        act.apply(plan, "k")
    assert TOKEN not in str(refused.value)
    assert str(refused.value).isprintable()


def test_words_of_a_server_are_cut(act: HttpRequest, service: DeployService) -> None:
    service.scripted["GET"] = (400, {}, b"x" * 5_000)
    with pytest.raises(Permanent) as refused:
        act.plan(ROLLBACK)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("status", "headers", "wish", "ambiguous"),
    [
        (429, {"Retry-After": "7"}, 7.0, False),
        (429, {"Retry-After": "Sat, 21 Nov 2026 07:00:00 GMT"}, None, False),
        (500, {}, None, True),
        (503, {}, None, True),
    ],
)
def test_what_may_pass_is_transient_and_says_whether_it_may_have_been_done(
    act: HttpRequest, service: DeployService, status: int, headers: dict[str, str], wish: float | None, ambiguous: bool
) -> None:
    plan = act.plan(ROLLBACK)
    service.scripted["POST"] = (status, headers, b"")
    with pytest.raises(Transient) as failed:
        act.apply(plan, "k")
    assert (failed.value.retry_after, failed.value.ambiguous) == (wish, ambiguous)


def test_a_failed_look_is_never_ambiguous(act: HttpRequest, service: DeployService) -> None:
    service.scripted["GET"] = (500, {}, b"")
    with pytest.raises(Transient) as failed:
        act.plan(ROLLBACK)
    assert not failed.value.ambiguous


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>Sign in</html>", "answered 200 with text/html, not JSON: is a login page in between"),
        (b"[1]", "did not answer with a JSON object"),
        (b"[" * 60_000, "not JSON"),
        (b'"' + b"x" * 70_000 + b'"', "answered with more than 64 KiB"),
    ],
)
def test_an_answer_that_is_not_small_json_is_refused(
    act: HttpRequest, service: DeployService, body: bytes, words: str
) -> None:
    service.scripted["GET"] = (200, {"Content-Type": "text/html; charset=utf-8"}, body)
    with pytest.raises(Permanent, match=words):
        act.plan(ROLLBACK)


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (200, {"Content-Type": "text/html"}, b"<html>Sign in</html>", "is a login page in between"),
        (200, {}, b'"' + b"x" * 70_000 + b'"', "answered with more than 64 KiB"),
        (303, {"Location": "/done"}, b"", "redirects are not followed"),
    ],
)
def test_an_act_whose_good_answer_cannot_be_read_may_have_been_done(
    act: HttpRequest, service: DeployService, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    plan = act.plan(ROLLBACK)
    service.scripted["POST"] = (status, headers, body)
    for carry_out in (act.apply, act.undo):
        with pytest.raises(Permanent, match=words) as strange:
            carry_out(plan, "k")
        assert strange.value.ambiguous
    service.scripted["POST"] = (422, {}, b"no")
    with pytest.raises(Permanent) as refused:
        act.apply(plan, "k")
    assert not refused.value.ambiguous, "a no is a no"


def test_words_are_answer_enough_to_an_act(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    service.scripted["POST"] = (202, {"Content-Type": "text/plain"}, b"queued")
    act.apply(plan, "k")
    assert service.sent() == [{"revision": "r41"}]


def test_an_empty_answer_to_an_act_is_fine(act: HttpRequest, service: DeployService) -> None:
    plan = act.plan(ROLLBACK)
    service.scripted["POST"] = (204, {}, b"")
    act.apply(plan, "k")


def test_a_torn_answer_is_transient(act: HttpRequest, service: DeployService) -> None:
    service.scripted["GET"] = (200, {"Content-Length": "500"}, b'{"revision":')
    with pytest.raises(Transient):
        act.plan(ROLLBACK)


def test_a_closed_port_is_transient_and_nothing_was_done() -> None:
    with closing_server(lambda _: None) as address:
        pass
    blind = endpoint_of({"url": f"{address}/x", "token_env": "DEPLOY_TOKEN"})
    act = HttpRequest({"x": blind})
    with pytest.raises(Transient, match="cannot be reached: Connection refused") as failed:
        act.apply(act.plan({"endpoint": "x"}), "k")
    assert not failed.value.ambiguous


@contextmanager
def closing_server(talk: Callable[[Any], None]) -> Iterator[str]:
    """A raw TCP server that hands each connection to `talk` and then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_server_that_hangs_up_may_have_done_it() -> None:
    with closing_server(lambda _: None) as address:
        act = HttpRequest({"x": endpoint_of({"url": f"{address}/x", "token_env": "DEPLOY_TOKEN"})})
        with pytest.raises(Transient) as failed:
            act.apply(act.plan({"endpoint": "x"}), "k")
    assert failed.value.ambiguous


def drip(connection: socket.socket) -> None:
    """One byte after another, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    enough = threading.Event()
    while not enough.wait(0.02):
        connection.sendall(b"x")


def fall_silent(connection: socket.socket) -> None:
    """A first byte shortly before the time is over, then nothing until the client goes."""
    threading.Event().wait(0.8)
    connection.sendall(b"H")
    connection.recv(1)


@pytest.mark.parametrize("talk", [drip, fall_silent])
@by_the_clock
def test_a_slow_server_cannot_hold_the_call_beyond_its_time(talk: Callable[[socket.socket], None]) -> None:
    with closing_server(talk) as address:
        slow = {"url": f"{address}/x", "token_env": "DEPLOY_TOKEN", "timeout": "1s"}
        act = HttpRequest({"x": endpoint_of(slow)})
        plan = act.plan({"endpoint": "x"})
        began = time.monotonic()
        with pytest.raises(Transient, match="no answer in 1 s") as failed:
            act.apply(plan, "k")
    assert time.monotonic() - began < 1.6
    assert failed.value.ambiguous
