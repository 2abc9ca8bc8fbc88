"""Whatever is wrong in fixfirst.toml is said at once, each with its key and what to do, and never with a secret."""

from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, load, read
from bot.settings import Secret, shown

SECRETS = {
    "FIXFIRST_SLACK_BOT_TOKEN": "xoxb-decoy-bot",
    "FIXFIRST_SLACK_SIGNING_SECRET": "decoy-signing\n",
    "FIXFIRST_SLACK_APP_TOKEN": "xapp-decoy",
    "FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-routing",
    "FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS": "decoy-one, decoy-two ,",
    "FIXFIRST_ALERTMANAGER_TOKENS": " decoy-token-0123456 ,decoy-token-6543210\n",
    "DEPLOY_TOKEN": "decoy-deploy",
    "CACHE_PASSWORD": "decoy-cache",
    "PROMETHEUS_TOKEN": "decoy-prometheus",
}
SLACK = {"team_id": "T0123ABCD", "intake_channel": "C0123ABCD"}
ROTA = {"users": ["U1"], "handover": "2026-01-05T09:00:00Z"}
REDIS = {"url": "redis://h", "prefixes": ["fallback:"]}
TRAFFIC = {"proxy": "haproxy", "address": "tcp:lb:9999", "routes": {"r": {"shed": "shed.map batch"}}}
ENDPOINT = {"url": "https://deploy.internal/x", "token_env": "DEPLOY_TOKEN"}


def faults(folder: Path, values: dict[str, Any], secrets: dict[str, str] | None = None) -> list[str]:
    config, found = read(values, folder, (SECRETS if secrets is None else secrets).get)
    assert (config is None) == bool(found)
    assert "decoy" not in " ".join(found)
    return found


FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"workspace": "in ference"}, "workspace: must be letters, digits, - and _, at most 40"),
    ({"workspace": "w" * 41}, "workspace: must be letters"),
    ({"workspace": 7}, "workspace: is 7, but must be a text in quotes"),
    ({"work_space": "x"}, "work_space: is not a setting; did you mean workspace?"),
    ({"zzz": 1}, "zzz: is not a setting; known keys: access, alertmanager, alerts, "),
    ({"doors": "8080"}, "doors: is '8080', but must be a table"),
    ({"runbooks_dir": "nowhere"}, "runbooks_dir: "),
    ({"database": "mysql://u:decoy@host/db"}, "database: must begin with postgresql:// or sqlite://"),
    ({"doors": {"port": 70_000}}, "doors.port: is 70000, but must be from 0 to 65535"),
    ({"doors": {"port": True}}, "doors.port: is True, but must be a whole number from 0 to 65535"),
    ({"doors": {"prot": 1}}, "doors.prot: is not a setting; did you mean port?"),
    ({"doors": {"largest_body_mb": 0}}, "doors.largest_body_mb: is 0, but must be from 1 to 256"),
    ({"pages": {"port": 8080}}, "pages.port: is 8080, where the doors listen; choose another"),
    ({"pages": {"url": "incidents.example.com"}}, "pages.url: is 'incidents.example.com', but must be an address"),
    ({"pages": {"host": "0.0.0.0"}}, "pages.url: is missing, and no link can lead to 0.0.0.0"),
    ({"slack": {}}, "slack.team_id: is missing; set it"),
    ({"slack": {}}, "slack.intake_channel: is missing; set it"),
    ({"slack": {**SLACK, "team_id": "night-shift"}}, "slack.team_id: is 'night-shift', but a workspace id begins with"),
    ({"slack": {**SLACK, "intake_channel": "#incidents"}}, "slack.intake_channel: must be a channel id such as"),
    ({"slack": {**SLACK, "bot_token": "xoxb-decoy"}}, "slack.bot_token: is not a setting; "),
    ({"slack": {**SLACK, "socket_mode": "yes"}}, "slack.socket_mode: is 'yes', but must be true or false"),
    ({"slack": {**SLACK, "api_url": "https://u:decoy@h@:x"}}, "slack.api_url: "),
    ({"slack": SLACK, "access": {"responders": ["@oncall"]}}, "slack.responders: must be user group ids"),
    ({"access": {"responder": []}}, "access.responder: is not a setting; did you mean responders?"),
    ({"oncall": {"rotas": []}}, "oncall.rotas: is not a setting; did you mean rota?"),
    ({"oncall": {"rota": {"users": ["U1"]}}}, "oncall.rota: must be a list of tables; write [[oncall.rota]]"),
    ({"oncall": {"rota": [ROTA, {**ROTA, "users": []}]}}, "oncall.rota[2].users: is empty; name at least one"),
    ({"oncall": {"rota": [{"users": ["U1"]}]}}, "oncall.rota[1].handover: is missing; set a time such as"),
    ({"oncall": {"rota": [{**ROTA, "handover": "Monday"}]}}, "oncall.rota[1].handover: is 'Monday', but must be a"),
    ({"oncall": {"rota": [{**ROTA, "handover": "2026-01-05T09:00:00"}]}}, "handover: has no time zone; add Z"),
    ({"oncall": {"rota": [{**ROTA, "every": "0s"}]}}, "oncall.rota[1].every: must be longer than nothing"),
    ({"oncall": {"rota": [{**ROTA, "every": "weekly"}]}}, "oncall.rota[1].every: is 'weekly', but must be a duration"),
    ({"oncall": {"rota": [{**ROTA, "user": ["U1"]}]}}, "oncall.rota[1].user: is not a setting; did you mean users?"),
    ({"deadlines": {"acknowledge": "0s"}}, "deadlines.acknowledge: must be longer than nothing"),
    ({"deadlines": {"acknowledge": 5}}, "deadlines.acknowledge: is 5, but must be a duration"),
    ({"deadlines": {"escalations": 21}}, "deadlines.escalations: is 21, but must be from 0 to 20"),
    ({"deadlines": {"pages": ["SEV0"]}}, "deadlines.pages: 'SEV0' is no severity; use SEV1, SEV2, SEV3 or SEV4"),
    ({"deadlines": {"pages": "SEV1"}}, "deadlines.pages: is 'SEV1', but must be a list of texts in quotes"),
    (
        {"deadlines": {"update_every": {"sev1": "1h"}}},
        "deadlines.update_every.sev1: is not a setting; did you mean SEV1?",
    ),
    ({"alerts": {"default_severity": "bad"}}, "alerts.default_severity: is 'bad', but must be one of SEV1, SEV2"),
    ({"alerts": {"severities": {"worst": "SEV9"}}}, "alerts.severities.worst: 'SEV9' is no severity"),
    ({"alerts": {"group_by": ["cluster", 1]}}, "alerts.group_by: must hold texts in quotes only"),
    ({"heartbeat": {}}, "heartbeat.url: is missing; set it"),
    ({"heartbeat": {"url": "hc-ping.com/0"}}, "heartbeat.url: is 'hc-ping.com/0', but must be an address"),
    (
        {"heartbeat": {"url": "https://h", "timeout": "11s"}},
        "heartbeat.timeout: must be longer than nothing and at most",
    ),
    ({"alertmanager": {"token": "decoy"}}, "alertmanager.token: is not a setting; did you mean token_env?"),
    ({"pagerduty": {"escalation": "boss"}}, "pagerduty.escalation: is 'boss', but must be one of policy, level, key"),
    ({"pagerduty": {"escalation": "level"}}, 'pagerduty.escalation: is "level", which needs FIXFIRST_PAGERDUTY_API'),
    ({"pagerduty": {"escalation": "key"}}, 'pagerduty.escalation: is "key", which needs FIXFIRST_PAGERDUTY_SECOND'),
    ({"pagerduty": {"api_url": "api.pagerduty.com"}}, "pagerduty.api_url: is 'api.pagerduty.com', but must be"),
    ({"pagerduty": {"events_url": "https://[events"}}, "pagerduty.events_url: is 'https://[events', but must be"),
    ({"prometheus": {}}, "prometheus.url: is missing; set it"),
    ({"prometheus": {"url": "http://u:decoy@p"}}, "prometheus.url: must hold neither a password nor a query"),
    ({"prometheus": {"url": "http://p", "timeout": "11s"}}, "prometheus.timeout: must be longer than nothing and at"),
    ({"prometheus": {"url": "http://p", "token_env": "NOT_SET"}}, "prometheus.token_env: names an environment variabl"),
    ({"health": {"window": "0s"}}, "health.window: must be at least 10s"),
    ({"health": {"change": "1s"}}, "health.change: must be at least 10s"),
    ({"health": {"window": "10m", "memory": "5m"}}, "health.memory: must be at least as long as window, 600s"),
    ({"health": {"limits": {"U9": {"warn": 1}}}}, "health.limits.'U9': is no check with limits; there are U1, U1b, U2"),
    ({"health": {"limits": {"T1": {"warn": 1}}}}, "health.limits.'T1': is no check with limits"),
    ({"health": {"limits": {"U1": 0.01}}}, "health.limits.U1: is 0.01, but must be a table such as {warn = 1}"),
    ({"health": {"limits": {"U1": {"warn": "1 %"}}}}, "health.limits.U1.warn: is '1 %', but must be a number"),
    ({"health": {"limits": {"U1": {"worn": 0.1}}}}, "health.limits.U1.worn"),
    ({"health": {"limits": {"E4": {"crit": 60}}}}, "health.limits.E4.crit"),
    ({"health": {"limits": {"U1": {"warn": 0.2}}}}, "health.limits.U1.warn: is 0.2, which lies past crit, 0.1"),
    ({"health": {"limits": {"M2c": {"warn": 60}}}}, "health.limits.M2c.warn: is 60, which lies past crit, 86400"),
    ({"health": {"first_token_within_seconds": 0}}, "health.first_token_within_seconds: is 0, but must be from 0.001"),
    ({"endpoints": {"x": "y"}}, "endpoints.x: must be a table; write [endpoints.x]"),
    ({"endpoints": {"x": {}}}, "endpoints.x.url: is missing; set it"),
    ({"endpoints": {"x": {**ENDPOINT, "token_env": "decoy"}}}, "endpoints.x.token_env: must be the name of an envir"),
    ({"endpoints": {"x": {**ENDPOINT, "verb": "PUT"}}}, "endpoints.x.verb: is not a setting"),
    ({"redis": {"r": {**REDIS, "timeout": "11s"}}}, "redis.r.timeout: must be longer than nothing and at most 10s"),
    ({"redis": {"r": {**REDIS, "url": "redis://:decoy@h"}}}, "redis.r.url: must not hold a password; use user and"),
    ({"redis": {"r": {**REDIS, "url": "http://h"}}}, "redis.r.url: must begin with redis:// or rediss:// and a host"),
    ({"redis": {"r": {**REDIS, "url": "redis://h/a"}}}, "redis.r.url: may end only in the number of a database"),
    ({"redis": {"r": {**REDIS, "url": "redis://["}}}, "redis.r.url: is not a URL"),
    ({"redis": {"r": {"url": "redis://h"}}}, "redis.r.prefixes: is missing; name what may be set"),
    ({"redis": {"r": {**REDIS, "prefixes": ["a:", ""]}}}, "redis.r.prefixes: holds '', which is no beginning of a key"),
    (
        {"redis": {"r": {**REDIS, "password": "decoy"}}},
        "redis.r.password: is not a setting; did you mean",
    ),
]


@pytest.mark.parametrize(("values", "expected"), FAULTY, ids=[expected[:50] for _, expected in FAULTY])
def test_a_fault_names_its_key_and_its_fix(tmp_path: Path, values: dict[str, Any], expected: str) -> None:
    found = faults(tmp_path, values)
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize(
    ("table", "variable"),
    [
        ({"slack": SLACK}, "FIXFIRST_SLACK_BOT_TOKEN"),
        ({"slack": SLACK}, "FIXFIRST_SLACK_SIGNING_SECRET"),
        ({"slack": {**SLACK, "socket_mode": True}}, "FIXFIRST_SLACK_APP_TOKEN"),
        ({"pagerduty": {}}, "FIXFIRST_PAGERDUTY_ROUTING_KEY"),
        ({"endpoints": {"x": ENDPOINT}}, "DEPLOY_TOKEN"),
        ({"redis": {"r": {**REDIS, "password_env": "CACHE_PASSWORD"}}}, "CACHE_PASSWORD"),
    ],
)
def test_a_missing_secret_is_named(tmp_path: Path, table: dict[str, Any], variable: str) -> None:
    without = {name: value for name, value in SECRETS.items() if name != variable}
    assert any(variable in fault for fault in faults(tmp_path, table, without))
    assert any(variable in fault for fault in faults(tmp_path, table, {**SECRETS, variable: " \n"}))


def test_a_short_token_is_refused_without_being_shown(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, {}, {"FIXFIRST_ALERTMANAGER_TOKENS": "decoy-token-0123456,decoy"})
    assert fault.startswith("FIXFIRST_ALERTMANAGER_TOKENS: a token is shorter than 16 characters")


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {}
    for values, _ in FAULTY:
        for key, value in values.items():
            merged = {**wrong[key], **value} if isinstance(wrong.get(key), dict) and isinstance(value, dict) else value
            wrong[key] = merged
    found = faults(tmp_path, wrong)
    tables = {fault.partition(":")[0].partition(".")[0].partition("[")[0] for fault in found}
    assert len(found) > 25
    assert tables >= {"doors", "pages", "slack", "access", "oncall", "deadlines", "alerts", "pagerduty", "prometheus"}


def complete(folder: Path) -> Config:
    values = {
        "slack": SLACK,
        "pagerduty": {},
        "prometheus": {"url": "http://p", "token_env": "PROMETHEUS_TOKEN"},
        "endpoints": {"x": ENDPOINT},
        "redis": {"r": {**REDIS, "password_env": "CACHE_PASSWORD"}},
    }
    config, found = read(values, folder, SECRETS.get)
    assert config is not None, found
    return config


def test_the_settings_print_without_their_secrets(tmp_path: Path) -> None:
    config = complete(tmp_path)
    assert "decoy" not in repr(config)
    assert "decoy" not in f"{config.slack} {config.tokens} {config.pagerduty} {config.targets}"
    assert repr(Secret("")) == "Secret()"


def test_secrets_lose_the_line_break_of_the_file_they_came_from(tmp_path: Path) -> None:
    config = complete(tmp_path)
    assert config.slack is not None
    assert config.slack.signing_secret.reveal() == "decoy-signing"
    assert [token.reveal() for token in config.tokens["alertmanager"]] == [
        "decoy-token-0123456",
        "decoy-token-6543210",
    ]
    assert config.pagerduty is not None
    assert [one.reveal() for one in config.pagerduty.webhook_secrets] == ["decoy-one", "decoy-two"]


def test_a_faulty_value_is_repeated_in_brief_and_without_secrets() -> None:
    assert len(shown("x" * 5_000)) <= 80
    assert "decoy" not in shown("https://maya:decoy-password@host")
    assert "0123456789" not in shown("xoxb-0123456789-0123456789-abcdef")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("a = ", "is not TOML: "),
        ("a = '\ud800'", "is not TOML: "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "fixfirst.toml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    config, (fault,) = load(path)
    assert config is None
    assert expected in fault


def test_a_reminder_is_changed_by_severity_and_the_rest_stay(tmp_path: Path) -> None:
    config, found = read({"deadlines": {"update_every": {"SEV1": "0s", "SEV3": "2h"}}}, tmp_path, SECRETS.get)
    assert config is not None, found
    spans = {severity.value: span.total_seconds() for severity, span in config.policy.update_every}
    assert spans == {"SEV2": 3600, "SEV3": 7200}
