"""Servers that are asked directly, over HTTP: what each answer says, and what is not asked."""

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from bot.contracts import Transient
from bot.health.probe import Answer, Question, observations
from bot.integrations.probe import SERVERS, Probe, Probes
from tests.servers import Answering, drip, free_port, http_server, raw_server

MODELS = {"object": "list", "data": [{"id": "llama-70b", "object": "model"}]}
TOKEN = {"object": "text_completion", "choices": [{"text": " ok", "finish_reason": "length"}]}


@dataclass
class Server:
    """What it answers by path, and what it was asked."""

    answers: dict[str, tuple[int, object]]
    asked: list[tuple[str, str, object, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(answers: dict[str, tuple[int, object]]) -> Iterator[Server]:
    server = Server(answers)

    class Handler(Answering):
        def _any(self) -> None:
            body = self.sent()
            sent = json.loads(body) if body else None
            server.asked.append((self.command, self.path, sent, self.headers.get("Authorization", "")))
            status, said = server.answers.get(self.path, (404, {"error": "not found"}))
            self.reply(status, json.dumps(said).encode())

        do_GET = do_POST = _any

    with http_server(Handler) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


def probe(*urls: str, server: str = "vllm", completion: bool = True, token: str = "") -> Probe:
    table = {"server": server, "urls": list(urls), "model": "llama-70b", "completion": completion}
    if token:
        table["token_env"] = "KEY"
    found, faults = Probe.from_toml("chat", table, {"KEY": token}.get)
    assert found is not None, faults
    return found


def asked(one: Probe, waiting: float = 0, budget: float = 10) -> dict[Question, list[Answer]]:
    begun = Probes({one.name: one}).begin("llama-70b", budget)
    assert begun is not None
    said = begun.finish({"llama-70b": waiting})
    return {question: [answer for answer in said if answer.question is question] for question in Question}


WELL: dict[str, tuple[int, object]] = {
    "/health": (200, {}),
    "/v1/models": (200, MODELS),
    "/v1/completions": (200, TOKEN),
}


def test_a_server_that_is_well_is_alive_ready_and_answers_with_one_token() -> None:
    with serving(WELL) as vllm:
        said = asked(probe(vllm.url, token="sesame"))
    assert [said[question][0].good for question in (Question.ALIVE, Question.READY, Question.TOKEN)] == [True] * 3
    (sent,) = [body for method, _, body, _ in vllm.asked if method == "POST"]
    assert sent == {"model": "llama-70b", "prompt": "Say ok.", "max_tokens": 1, "temperature": 0}
    assert {header for *_, header in vllm.asked} == {"Bearer sesame"}


def test_an_engine_that_hangs_is_alive_and_gives_no_token() -> None:
    hung = {**WELL, "/v1/completions": (504, {"error": "upstream timed out"})}
    with serving(hung) as vllm:
        said = asked(probe(vllm.url))
    assert said[Question.ALIVE][0].good is True
    assert said[Question.TOKEN][0].good is False
    assert "504 when asked for a token" in said[Question.TOKEN][0].text


def test_a_200_without_a_token_is_no_token() -> None:
    with serving({**WELL, "/v1/completions": (200, {"choices": []})}) as vllm:
        assert asked(probe(vllm.url))[Question.TOKEN][0].good is False


def test_a_server_that_serves_another_model_is_not_ready_for_ours() -> None:
    other = {"data": [{"id": "llama-8b"}]}
    with serving({**WELL, "/v1/models": (200, other)}) as vllm:
        (answer,) = asked(probe(vllm.url))[Question.READY]
    assert answer.good is False
    assert "serves llama-8b, and not llama-70b" in answer.text


def test_while_requests_wait_nobody_is_asked_for_a_token() -> None:
    with serving(WELL) as vllm:
        said = asked(probe(vllm.url), waiting=12)
    assert said[Question.TOKEN][0].good is None
    assert "12 requests wait" in said[Question.TOKEN][0].text
    assert "POST" not in {method for method, *_ in vllm.asked}


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_server_that_will_not_answer_the_question_is_no_dead_one(status: int) -> None:
    with serving({**WELL, "/v1/completions": (status, {"error": "no"})}) as vllm:
        (answer,) = asked(probe(vllm.url))[Question.TOKEN]
    assert (answer.good, f"answers {status}" in answer.text) == (None, True)


def test_a_chat_endpoint_is_asked_as_one() -> None:
    with serving({**WELL, "/v1/chat/completions": (200, TOKEN)}) as endpoint:
        said = asked(probe(endpoint.url, server="openai"))
    assert said[Question.TOKEN][0].good is True
    (body,) = [body for method, _, body, _ in endpoint.asked if method == "POST"]
    assert isinstance(body, dict)
    assert body["messages"] == [{"role": "user", "content": "Say ok."}]


def test_servers_that_hang_keep_nobody_from_asking_those_that_are_well() -> None:
    """As many as a table may name, the well one last."""
    with raw_server(drip) as hanging, serving(WELL) as well:
        urls = [f"http://127.0.0.1:{hanging}/{number}" for number in range(20)]
        alive = asked(probe(*urls, well.url, completion=False), budget=6)[Question.ALIVE]
    assert alive[-1].good is True


def test_what_was_not_asked_in_time_says_nothing_of_the_server() -> None:
    with serving(WELL) as vllm:
        said = asked(probe(vllm.url), budget=0)
    assert {answer.good for answers in said.values() for answer in answers} <= {None, True}
    assert all(observation.status != "crit" for observation in observations([a for v in said.values() for a in v]))


def test_each_replica_is_asked_for_one_token_in_a_report() -> None:
    with serving(WELL) as one, serving(WELL) as other:
        asked(probe(one.url, other.url))
    assert [sum(m == "POST" for m, *_ in server.asked) for server in (one, other)] == [1, 1]


def test_triton_is_asked_after_its_model_and_for_no_token() -> None:
    answers: dict[str, tuple[int, object]] = {"/v2/health/live": (200, {}), "/v2/models/llama-70b/ready": (503, {})}
    with serving(answers) as triton:
        said = asked(probe(triton.url, server="triton", completion=False))
    assert (said[Question.ALIVE][0].good, said[Question.READY][0].good, said[Question.TOKEN]) == (True, False, [])


def test_litellm_is_never_asked_for_the_page_that_costs_money() -> None:
    with serving({}) as litellm:
        asked(probe(litellm.url, server="litellm"))
    assert "/health" not in {path for _, path, *_ in litellm.asked}


def test_a_closed_port_a_dripping_server_and_nonsense_are_answers_too() -> None:
    with raw_server(drip) as dripping:
        closed = free_port()
        began = asked(probe(f"http://127.0.0.1:{closed}", f"http://127.0.0.1:{dripping}", completion=False), budget=5)
    assert [answer.good for answer in began[Question.ALIVE]] == [False, False]
    with raw_server(lambda connection: connection.sendall(b"SSH-2.0-nonsense\r\n")) as odd:
        assert asked(probe(f"http://127.0.0.1:{odd}"))[Question.READY][0].good is False


def test_of_two_replicas_one_that_fails_is_named_and_both_failing_is_critical() -> None:
    with serving(WELL) as well, serving({}) as ill:
        half = {o.check: o for o in observations([a for v in asked(probe(well.url, ill.url)).values() for a in v])}
        whole = {o.check: o for o in observations([a for v in asked(probe(ill.url)).values() for a in v])}
    assert (half["P1"].status, whole["P1"].status) == ("warn", "crit")
    assert half["P1"].offender == ill.url.removeprefix("http://")
    assert "1 of 2 servers are alive" in half["P1"].text


def test_pods_are_asked_of_the_cluster_and_one_that_is_away_leaves_it_unknown() -> None:
    table = tomllib.loads(
        'urls = ["http://127.0.0.1:1"]\nmodel = "llama-70b"\n'
        'kubernetes = {target = "prod", namespace = "chat", deployment = "llama-70b"}'
    )
    one, faults = Probe.from_toml("chat", table, lambda _: None)
    assert one is not None, faults

    def away(*_: str) -> tuple[int, int]:
        raise Transient("prod cannot be reached")

    for ready, good in ((lambda *_: (2, 3), False), (lambda *_: (3, 3), True), (away, None)):
        begun = Probes({"chat": one}, ready).begin(None, 5)
        assert begun is not None
        (answer,) = [a for a in begun.finish({}) if a.question is Question.PODS]
        assert answer.good is good


def test_a_probe_of_another_model_is_left_alone() -> None:
    assert Probes({"chat": probe("http://127.0.0.1:1")}).begin("mistral", 5) is None


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"model": "m"}, "urls: is missing"),
        ({"urls": ["ftp://x"], "model": "m"}, "urls: holds 'ftp://x'"),
        ({"urls": ["http://u:p@x"], "model": "m"}, "no password"),
        ({"urls": ["http://x:99999"], "model": "m"}, "urls: holds 'http://x:99999'"),
        ({"urls": ["http://x:80a"], "model": "m"}, "urls: holds 'http://x:80a'"),
        ({"urls": ["http://a..b"], "model": "m"}, "urls: holds 'http://a..b'"),
        ({"urls": ["http://x"]}, "model: is missing"),
        ({"urls": ["http://x"], "model": "m", "server": "llama"}, "server: is"),
        ({"urls": ["http://x"], "model": "m", "server": "triton", "completion": True}, "completion: triton has no"),
        ({"urls": ["http://x"], "model": "m", "kubernetes": {"target": "a"}}, "kubernetes.namespace: is missing"),
        (
            {"urls": ["http://x"], "model": "m", "complete": True},
            "complete: is not a setting; did you mean completion?",
        ),
    ],
)
def test_a_fault_in_the_table_names_its_key(table: dict[str, object], fault: str) -> None:
    found, faults = Probe.from_toml("chat", table, lambda _: None)
    assert found is None
    assert any(fault in one for one in faults), faults


def test_every_server_has_a_page_that_says_whether_it_is_ready() -> None:
    assert all(server.ready for server in SERVERS.values())
