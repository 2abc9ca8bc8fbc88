"""What is sent: Alertmanager webhooks and signed slash commands, as bytes on the wire."""

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

ALERT_TOKEN: Final = "bench-token-0123456789abcdef"
SLACK_SECRET: Final = "bench-signing-secret-0123456789ab"
TEAM, PERSON, GROUP, CHANNEL = "T0BENCH", "U0BENCH", "S0BENCH", "C0BENCH"
SERVICES: Final = 20
"""Alerts come from so many services, each of which is one incident, as in a real storm."""
_numbers: Final = itertools.count(1)


def post(path: str, body: bytes, kind: str, *headers: str) -> bytes:
    """A whole request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def alert(service: int, pod: str) -> dict[str, Any]:
    """One alert of a pod, with the labels and notes that a monitored inference fleet puts on it; about 1 kB."""
    return {
        "status": "firing",
        "labels": {
            "alertname": "LLMErrorRatioHigh",
            "cluster": "eu-west-1",
            "namespace": "inference",
            "service": f"chat-{service:02d}",
            "model_name": f"llama-70b-{service:02d}",
            "pod": f"vllm-{pod}",
            "instance": f"vllm-{pod}:8000",
            "job": "vllm",
            "node": f"gpu-node-{service:03d}",
            "severity": "critical",
            "prometheus": "monitoring/k8s",
            "team": "inference",
        },
        "annotations": {
            "summary": f"chat-{service:02d} answers 12% of requests with errors",
            "description": "More than 5% of the requests of the last five minutes ended in an error. "
            "Users see failed completions; the error budget of the month is gone in two hours at this rate.",
            "runbook": "rollback-model-deploy",
            "runbook_url": "https://runbooks.example.com/inference/llm-error-ratio-high",
            "dashboard": "https://grafana.example.com/d/inference/vllm?var-service=chat",
        },
        "startsAt": "2026-01-05T03:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com:9090/graph?g0.expr=llm%3Aerror_ratio%3A5m+%3E+0.05&g0.tab=1",
        "fingerprint": hashlib.sha256(pod.encode()).hexdigest()[:16],
    }


def webhook(*alerts: dict[str, Any]) -> bytes:
    """One webhook of Alertmanager, version 4, as a whole request."""
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="LLMErrorRatioHigh"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "fixfirst",
        "groupLabels": {"alertname": "LLMErrorRatioHigh"},
        "commonLabels": {"alertname": "LLMErrorRatioHigh", "cluster": "eu-west-1"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com:9093",
        "alerts": alerts,
    }
    sealed = json.dumps(body, separators=(",", ":")).encode()
    return post("/hooks/alertmanager", sealed, "application/json", f"Authorization: Bearer {ALERT_TOKEN}")


def repeats(alerts: int = 1) -> Iterator[bytes]:
    """The same webhook again and again, from each service in turn."""
    return itertools.cycle(
        webhook(*(alert(service, f"known-{service}-{n}") for n in range(alerts))) for service in range(SERVICES)
    )


def news(alerts: int = 1) -> Iterator[bytes]:
    """Webhooks whose alerts nobody has seen before, from the services in turn."""
    template = webhook(*(alert(88, f"@POD{n:04d}@") for n in range(alerts)))
    swaps = [(f"@POD{n:04d}@".encode(), alert(88, f"@POD{n:04d}@")["fingerprint"].encode()) for n in range(alerts)]
    for number in _numbers:
        request = template.replace(b"-88", b"-%02d" % (number % SERVICES))
        for n, (pod, fingerprint) in enumerate(swaps):
            request = request.replace(pod, b"%04x%05x" % (n, number)[:9]).replace(
                fingerprint, b"%04x%012x" % (n, number)
            )
        yield request


def mixed(alerts: int = 1) -> Iterator[bytes]:
    """Four webhooks of repeats to each one of news."""
    old, new = repeats(alerts), news(alerts)
    for turn in itertools.count():
        yield next(new) if turn % 5 == 0 else next(old)


def first_of_its_group(number: int) -> bytes:
    """A webhook that opens an incident of its own."""
    one = alert(0, f"lone-{number}")
    one["labels"] |= {"service": f"lone-{number}", "model_name": f"lone-{number}"}
    one["annotations"] |= {"summary": f"lone-{number} answers with errors"}
    return webhook(one)


def command(text: str) -> bytes:
    """A signed `/incident TEXT`, stamped now."""
    form = {
        "token": "legacy",
        "team_id": TEAM,
        "team_domain": "bench",
        "channel_id": CHANNEL,
        "channel_name": "incidents",
        "user_id": PERSON,
        "user_name": "bench",
        "command": "/incident",
        "text": text,
        "api_app_id": "A0BENCH",
        "is_enterprise_install": "false",
        "response_url": "http://127.0.0.1:9/nowhere",
        "trigger_id": f"{next(_numbers)}.1.bench",
    }
    body = urlencode(form).encode()
    stamp = str(int(time.time()))
    signature = hmac.new(SLACK_SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    kind = "application/x-www-form-urlencoded"
    return post(
        "/slack/events", body, kind, f"X-Slack-Request-Timestamp: {stamp}", f"X-Slack-Signature: v0={signature}"
    )


def commands() -> Iterator[bytes]:
    """By turns a question (`list`) and something to write down (`note`), which is answered after its commit."""
    for turn in itertools.count():
        yield command("list" if turn % 2 else f"note INC-{turn // 2 % SERVICES + 1} seen, note {turn}")
