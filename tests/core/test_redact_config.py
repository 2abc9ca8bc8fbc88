"""What is blanked in configurations and diffs, where names stand apart from their values, and what is left."""

import time
from typing import Any

import pytest

from bot.incident.redact import names_a_secret
from bot.incident.redact_config import leaves, redact_config

TEXTS = {
    "a list of variables": "- name: DB_PASSWORD\n  value: tulip\n- name: REPLICAS\n  value: keep",
    "a diff": " env:\n   - name: DB_PASSWORD\n-    value: tulip1\n+    value: tulip2\n   - name: X\n+    value: keep",
    "a diff of the name": (
        "-- name: DB_PASS\n+- name: DB_PASSWORD\n-  value: tulip1\n+  value: tulip2\n - name: X\n   value: keep"
    ),
    "the value first": "- value: tulip\n  name: API_KEY\n- value: keep\n  name: REPLICAS",
    "JSON on lines": (
        '{\n  "name": "DB_PASSWORD",\n- "value": "tulip1"\n+ "value": "tulip2"\n}, {"name": "X",\n "value": "keep"}'
    ),
    "JSON on one": (
        '[{"name":"DB_PASSWORD","value":"tulip"},{"value":"tulip","name":"hfToken"},{"name":"X","value":"keep"}]'
    ),
    "YAML on one": "env: [{name: DB_PASSWORD, value: tulip}, {name: X, value: keep}]",
    "a value of many lines": "- name: TLS_KEY_PASSWORD\n  value: |\n    tulip\n\n    tulip\n  note: keep",
    "everything below": "secrets:\n  db: tulip\n  more:\n  - tulip\nreplicas: keep",
    "a block": "+password: |\n+  tulip\n+  tulip tulip\n+replicas: keep",
    "a manifest": "kind: Secret\ndata:\n  db: dHVsaXA tulip\nmetadata:\n  name: keep",
    "a flag": "command: vllm serve --api-key tulip --dtype keep",
    "flags in a list": 'args: ["--api-key", "tulip tulip", "--dtype", "keep"]',
    "flags on lines": " - --api-key\n-- tulip1\n+- tulip2\n - --dtype\n - keep",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_value_is_blanked_wherever_its_name_stands(text: str) -> None:
    left = redact_config(text)
    assert "tulip" not in left
    assert "keep" in left
    assert len(left.splitlines()) == len(text.splitlines())
    assert redact_config(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "-  max_num_seqs: 256\n+  max_num_seqs: 512\n   max_tokens: 4096",
        "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db\n      key: password\n",
        "--- a/values.yaml\n+++ b/values.yaml\n@@ -1,3 +1,3 @@\n image: llama:1.4.2\n",
        "# the token bucket is larger now\nargs: [--max-num-seqs, 512, --tokenizer, llama]\n",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_config(text) == text


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"env": [{"name": "DB_PASSWORD", "value": "x"}]}, {"env.DB_PASSWORD": ("x", True)}),
        ({"env": [{"name": "REPLICAS", "value": "2"}]}, {"env.REPLICAS": ("2", False)}),
        ({"secrets": {"db": "x"}}, {"secrets.db": ("x", True)}),
        ({"password": {"old": [{"a": "x"}]}}, {"password.old[0].a": ("x", True)}),
        ({"name": "hfToken", "value": "x"}, {"name": ("hfToken", False), "value": ("x", True)}),
        (
            {"kind": "Secret", "stringData": {"db": "x"}, "metadata": {"uid": "u"}},
            {"kind": ("Secret", False), "stringData.db": ("x", True), "metadata.uid": ("u", False)},
        ),
        (
            {"containers": [{"name": "vllm", "image": "v:1", "env": [{"name": "A_TOKEN", "value": "x"}]}]},
            {"containers.vllm.image": ("v:1", False), "containers.vllm.env.A_TOKEN": ("x", True)},
        ),
        ({"args": ["--dtype", "bfloat16"]}, {"args": (["--dtype", "bfloat16"], False)}),
    ],
)
def test_every_name_on_the_way_to_a_value_counts(table: Any, found: dict[str, tuple[Any, bool]]) -> None:
    assert {path: (value, secret) for path, value, secret in leaves(table)} == found


def test_names_are_known_in_the_spellings_of_configurations() -> None:
    assert all(map(names_a_secret, ("dbPassword", "hfToken", "apiKey", "secrets", "api_keys", "auth-tokens")))
    assert not any(map(names_a_secret, ("maxTokens", "max_tokens", "tokenizer", "secretName", "keys", "hotkey")))


BAITS = (
    *("name: a_password\n", "name: a_password\nvalue: |\n", "-a ", "- ", "value: name: "),
    *("-a.-a", ".--token-", "/key:", "name:", "value:", "{value:", "+val:|", "value:a,name:"),
)


@pytest.mark.parametrize("bait", BAITS)
def test_a_text_made_to_be_slow_is_read_in_one_go(bait: str) -> None:
    began = time.process_time()
    redact_config((bait * 40_000)[:40_000])
    assert time.process_time() - began < 4, "0.15 s on an idle machine"
