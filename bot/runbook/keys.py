"""The keys of the format, each with what it is for: the parser refuses any other, editors and documents show these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Key:
    """What a key is for, in a sentence for who writes a runbook."""

    about: str
    required: bool = False


Keys = Mapping[str, Key]

FRONT_MATTER: Final[Keys] = {
    "runbook": Key("The version of the format.", required=True),
    "id": Key("The file's name without .md: lower-case words joined by -.", required=True),
    "title": Key("What it does, as people will read it on a button.", required=True),
    "owner": Key("The team that answers for it.", required=True),
    "alerts": Key("The names of the alerts on whose incidents it is offered."),
    "params": Key("The values it needs, by name; steps use them as {{ name }}."),
    "lock": Key("What only one run at a time may work on, such as deploy/{{ model }}. Without it: the runbook itself."),
}
PARAM: Final[Keys] = {
    "type": Key("What a value must look like from its first character to its last.", required=True),
    "from": Key(
        "The label of the alert that fills it in, as alert.labels.NAME. Without it, or where it does not fit: asked."
    ),
    "default": Key("The value where the alert has no such label."),
    "about": Key("What the value means, for whoever is asked for it."),
}
STEP: Final[Keys] = {
    "id": Key("The step's name in the record, and for undo: lower-case words joined by -.", required=True),
    "do": Key("The kind of step.", required=True),
    "with": Key("What the kind of step needs to know."),
    "risk": Key("What the step may cost. It can only be raised above what its kind, or its target, costs anyway."),
    "timeout": Key("How long it may take, such as 90s, with all its tries. Without it: as its kind says."),
    "retry": Key("How often a failure that may pass is tried again, 0 to 5 times, within its time. Without it: 4."),
    "verify": Key("The measurement that proves that it helped. Whatever changes something needs one."),
    "undo": Key("The way back: auto, a step's id, or {none: why there is none}. Whatever changes something needs one."),
    "lease": Key("The step is undone by itself after this time, unless somebody renews it."),
    "on_fail": Key("What follows when it fails. Without it: stop."),
}
VERIFY: Final[Keys] = {
    "query": Key("The PromQL query that is measured.", required=True),
    "expect": Key(
        "What every value of its answer must be: '< 0.01' (or <=, >, >=, ==, !=), empty or nonempty.", required=True
    ),
    "for": Key("How long it must hold without a break."),
    "within": Key("By when it must have held; longer than 'for'.", required=True),
}
UNDO: Final[Keys] = {"none": Key("Why there is no way back.", required=True)}

# What each kind in KINDS does.
ABOUT_KINDS: Final[Mapping[str, str]] = {
    "promql.assert": "Measures once, and goes on only when the answer is as expected. No data is not a yes.",
    "promql.wait": "Measures again and again until the answer is as expected, or the step's timeout has passed.",
    "http.get": "Asks a configured endpoint and compares a field of its answer; further keys fill its {placeholders}.",
    "http.request": "Sends the request of a configured endpoint; any further key fills that {placeholder} in it.",
    "flag.set": "Switches a feature flag to one of its variants.",
    "redis.set": "Sets one key in Redis, for good or for a time.",
    "traffic.shed": "Turns a share of a route's requests away.",
    "traffic.shift": "Sends a share of a route's requests to its fallback.",
    "k8s.rollout_undo": "Takes a deployment back to an earlier revision, whose number the preview pins.",
    "k8s.scale": "Sets a deployment's replicas, or adds or takes away some; where an autoscaler owns it, its minimum.",
    "k8s.restart": "Replaces all pods of a deployment, a few at a time, or one pod.",
    "k8s.cordon": "Keeps new pods away from a node.",
    "k8s.drain": "Moves the pods of a cordoned node elsewhere, as their budgets let them.",
    "k8s.get": "Looks at an object of a cluster, or at one value in it.",
    "argo.abort": "Stops a rollout of Argo Rollouts: all traffic goes to the stable revision.",
    "argo.undo": "Takes a rollout of Argo Rollouts back to its earlier revision, whose number the preview pins.",
    "notify.post": "Posts words to the incident's channel.",
    "page.oncall": "Posts words to the incident's channel, and wakes the next person on call.",
    "shell.run": "Runs a command of the allow-list; further keys fill its {placeholders}.",
    "ask.approve": "Asks a person to say yes, and waits.",
    "manual": "Work for a person. A step without a block, with a list of '- [ ]' items, is one too.",
}


def required(keys: Keys) -> tuple[str, ...]:
    """The keys that may not be left out, in order."""
    return tuple(name for name, key in keys.items() if key.required)
