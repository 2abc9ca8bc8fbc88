"""Slack's own types as a yardstick: every call of ours, every block and view, and every payload of the workbench."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, best_match

from bot.workbench.slack.model import Call
from tests.story.wire import Heard

Json = Mapping[str, Any]

PAYLOADS = {
    "block_actions": "app-backend__interactive-components__BlockActionPayload",
    "view_submission": "app-backend__views__ViewSubmissionPayload",
    "view_closed": "app-backend__views__ViewClosedPayload",
    "message_action": "app-backend__interactive-components__MessageShortcutPayload",
    "command": "app-backend__slash-commands__SlashCommandPayload",
}
# What Slack documents and sends, and the recorded samples, made from other apps' traffic, happen to lack.
UNSEEN = {
    "block_actions": {"state", "response_url", "actions", "view", "is_enterprise_install"},
    "view_submission": {"response_urls", "is_enterprise_install", "trigger_id"},
}


class Reference:
    """The reference data in a folder; whatever was found right once is not looked at again."""

    def __init__(self, folder: Path) -> None:
        self._slack = folder / "slack"
        self._right: set[str] = set()
        self._validators: dict[str, Draft7Validator] = {}

    def faults(self, calls: Iterable[Call], heard: Iterable[Heard]) -> list[str]:
        """What Slack's types do not allow, each once."""
        found = [fault for call in calls for fault in self._call(call)]
        found += [fault for one in heard if one.path.startswith("/slack") for fault in self._payload(one)]
        return sorted(set(found))

    def _call(self, call: Call) -> Iterator[str]:
        if not call.answer.get("ok"):
            return  # what the workbench refuses, the story's own audit looks at
        args = {name: self._plain(call.method, name, value) for name, value in call.args.items() if name != "token"}
        seen = json.dumps([call.method, args], sort_keys=True)
        if seen in self._right:
            return
        faults = [*self._arguments(call.method, args), *self._answer(call)]
        if not faults:
            self._right.add(seen)
        yield from faults

    def _plain(self, method: str, name: str, value: Any) -> Any:
        """A form carries words only; what an argument is documented as says what the word means."""
        kind = self._methods.get(method, {"args": {}})["args"].get(name, {}).get("type")
        if not isinstance(value, str) or kind not in ("boolean", "integer", "number", "array"):
            return value
        return value in ("1", "true") if kind == "boolean" else json.loads(value)

    def _arguments(self, method: str, args: Json) -> Iterator[str]:
        known = self._methods.get(method)
        if known is None:
            return  # the reference holds a choice of methods
        for name in args.keys() - known["args"].keys():
            yield f"{method}: the documentation knows no argument {name!r}"
        for name, about in known["args"].items():
            if about.get("required") and name not in args and name != "token":
                yield f"{method}: the documentation requires {name!r}"
        if "blocks" in args:
            yield from self._against("blockkit", "SlackMessageBlocks", {"blocks": args["blocks"]}, method)
        if "view" in args:
            kind = "SlackModal" if args["view"]["type"] == "modal" else "SlackHome"
            yield from self._against("blockkit", kind, {"view": args["view"]}, method)
        group = method.split(".", 1)[0]
        if method in self._requests.get(group, {}).get("definitions", {}).get("Requests", {}).get("properties", {}):
            yield from self._against(f"requests {group}", method, args, method)

    def _answer(self, call: Call) -> Iterator[str]:
        path = self._slack / "samples" / f"api__{call.method}.json"
        if path.exists():
            sample = self._sample(path)
            for key in call.answer.keys() - sample.keys() - {"response_metadata", "warning"}:
                yield f"{call.method}: no answer of Slack's was seen with {key!r}"

    def _payload(self, heard: Heard) -> Iterator[str]:
        form = {name: values[0] for name, values in parse_qs(heard.body.decode(), keep_blank_values=True).items()}
        payload = json.loads(form["payload"]) if "payload" in form else form if "command" in form else None
        if payload is None:
            return  # an event: the envelopes of those are compared where they are made
        kind = payload.get("type", "command")
        sample = self._sample(self._slack / "samples" / f"{PAYLOADS[kind]}.json")
        for key in payload.keys() - sample.keys() - UNSEEN.get(kind, set()):
            yield f"{kind}: no payload of Slack's was seen with {key!r}"

    def _against(self, schema: str, name: str, value: Any, what: str) -> Iterator[str]:
        errors: list[ValidationError] = list(self._validator(schema, name).iter_errors(value))
        if errors:
            worst = best_match(errors) or errors[0]
            yield f"{what}: {worst.json_path}: {worst.message[:300]}"

    def _validator(self, schema: str, name: str) -> Draft7Validator:
        key = f"{schema} {name}"
        if key not in self._validators:
            if schema == "blockkit":
                whole = {**self._blockkit, "$ref": f"#/definitions/{name}"}
            else:
                group = self._requests[schema.split()[1]]
                whole = {**group, "$ref": group["definitions"]["Requests"]["properties"][name]["$ref"]}
            self._validators[key] = Draft7Validator(whole)
        return self._validators[key]

    @cached_property
    def _blockkit(self) -> dict[str, Any]:
        return dict(json.loads((self._slack / "blockkit.schema.json").read_text(encoding="utf-8")))

    @cached_property
    def _requests(self) -> dict[str, Any]:
        return dict(json.loads((self._slack / "webapi-requests.schema.json").read_text(encoding="utf-8")))

    @cached_property
    def _methods(self) -> dict[str, Any]:
        return dict(json.loads((self._slack / "methods.json").read_text(encoding="utf-8"))["methods"])

    def _sample(self, path: Path) -> dict[str, Any]:
        return dict(json.loads(path.read_text(encoding="utf-8")))
