"""The gateway in front of the models: what it is told at run time, and whom its traffic reaches.

Percentages are keys of an Envoy runtime, set in its admin layer
(https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--runtime); what a flag says is read from a file of
flagd's (https://flagd.dev/reference/flag-definitions/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.workbench.fleet.deployment import Deployment
from bot.workbench.fleet.serving import Load, wobble
from bot.workbench.fleet.spec import ModelSpec

LAYERS = ("base", "admin")


def shed_key(model: str) -> str:
    """Per cent of the model's batch traffic that is turned away."""
    return f"gateway.{model}.batch.shed"


def weight_keys(model: str, other: str) -> tuple[str, str]:
    """The weights of the model's own cluster and of `other`: `smaller`, a model that stands in, or `canary`."""
    return f"gateway.{model}.{other}.main", f"gateway.{model}.{other}.other"


def guard_flag(model: str) -> str:
    """The flag that keeps requests unlike the reference set away from the model."""
    return f"drift-guard-{model}"


@dataclass
class Runtime:
    """Envoy's runtime: what the configuration says, and above it what its admin interface was told."""

    base: Mapping[str, str]
    admin: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, models: tuple[ModelSpec, ...]) -> Runtime:
        """Nothing is shed or shifted, nothing goes to a candidate."""
        base: dict[str, str] = {}
        for model in models:
            base[shed_key(model.name)] = "0"
            for other, there in (("smaller", model.smaller), ("canary", model.candidate)):
                if there:
                    base |= dict(zip(weight_keys(model.name, other), ("100", "0"), strict=True))
        return cls(base)

    def modify(self, changes: Mapping[str, str]) -> None:
        """Set keys of the admin layer; an empty value takes the key out of it."""
        for key, value in changes.items():
            if value:
                self.admin[key] = value
            else:
                self.admin.pop(key, None)

    def told(self) -> dict[str, Any]:
        """As Envoy's `GET /runtime` answers."""
        entries = {
            key: {
                "final_value": self._holds(key),
                "layer_values": [self.base.get(key, ""), self.admin.get(key, "")],
            }
            for key in sorted({*self.base, *self.admin})
        }
        return {"layers": list(LAYERS), "entries": entries}

    def shed(self, model: str) -> float:
        """The share of the model's batch traffic that is turned away, 0..1."""
        return min(100.0, self._number(shed_key(model))) / 100.0

    def share(self, model: str, other: str) -> float:
        """The share of the model's traffic that `other` gets, 0..1."""
        main, there = (self._number(key) for key in weight_keys(model, other))
        return there / (main + there) if there else 0.0

    def _holds(self, key: str) -> str:
        return self.admin.get(key) or self.base.get(key, "")

    def _number(self, key: str) -> float:
        """Envoy takes what is no whole number for the default."""
        value = self._holds(key)
        return float(value) if value.isdecimal() else float(self.base.get(key, "0"))


@dataclass
class Flags:
    """A file of flags, read again when it has changed; without one, or with one that cannot be read, all are off."""

    path: Path | None = None
    _seen: tuple[int, int] = (0, 0)
    _variants: dict[str, str] = field(default_factory=dict)

    def refresh(self) -> None:
        """Look at the file."""
        if self.path is None:
            return
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen == self._seen:
                return
            flags = json.loads(self.path.read_text(encoding="utf-8"))["flags"]
            self._variants = {name: flag["defaultVariant"] for name, flag in flags.items()}
            self._seen = seen
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._variants = {}

    def on(self, name: str) -> bool:
        """Whether its variant is "on"."""
        return self._variants.get(name) == "on"


def flag_file(models: tuple[ModelSpec, ...]) -> str:
    """The flags of these models, all off, as flagd reads them."""
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    flags = {guard_flag(model.name): flag for model in models}
    return json.dumps({"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags}, indent=2) + "\n"


@dataclass(frozen=True)
class Press:
    """What presses on one model beyond its usual traffic: further requests per second of batch jobs and of users, as
    multiples of the usual, and a factor on the length of answers."""

    batch: float = 0.0
    users: float = 0.0
    tokens: float = 1.0


CAPPED_TOKENS = 1.5  # what a cap leaves of runaway answers: most requests are not the loop's


def loads(
    now: float,
    deployments: Mapping[str, Deployment],
    canaries: Mapping[str, Deployment],
    runtime: Runtime,
    presses: Mapping[str, Press],
) -> dict[str, Load]:
    """What each deployment gets, by its name, when every model's traffic has found its way."""
    found: dict[str, Load] = {}
    guests = dict.fromkeys(deployments, 0.0)
    for name, deployment in deployments.items():
        spec, press = deployment.spec, presses.get(name, Press())
        usual = spec.rate * wobble(now)
        batch, users = usual * (spec.batch + press.batch), usual * (1 - spec.batch + press.users)
        turned = batch * runtime.shed(name)
        served = batch + users - turned
        others = served * runtime.share(name, "smaller") if spec.smaller else 0.0
        trial = (served - others) * runtime.share(name, "canary") if name in canaries else 0.0
        if others and deployments[spec.smaller].ready(now):
            guests[spec.smaller] += others
        tokens = min(press.tokens, CAPPED_TOKENS) if deployment.token_cap else press.tokens
        found[name] = Load(
            users=served - others - trial,
            turned=turned,
            others=others,
            lost=0.0 if others and deployments[spec.smaller].ready(now) else 1.0,
            tokens=tokens,
            cache=deployment.fallback == "cache",
        )
        if name in canaries:
            found[canaries[name].spec.name] = Load(users=trial, tokens=tokens)
    return {name: replace(load, guests=guests.get(name, 0.0)) for name, load in found.items()}
