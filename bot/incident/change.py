"""What somebody changed about a service or a model, and which incident it may have to do with. Pure.

A change is told by whoever made it (a pipeline, by `POST /hooks/change`) or seen in Kubernetes
(bot/health/rollouts.py). The same roll-out is often both; then it is one change, in the words of the pipeline, which
knows who and why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from bot.incident.events import ChangeFound, Precision

KUBERNETES: Final = "kubernetes"
"""The source of what nobody told us of."""
MOST: Final = 50
"""Changes kept with one incident; who deploys more often within hours is not looked for one by one."""
SAME_WITHIN: Final = timedelta(minutes=20)
"""A pipeline says that it deploys when it begins or when it has ended; loading the weights takes minutes."""
SAME_IMAGE_WITHIN: Final = timedelta(minutes=60)
GONE: Final = "A change whose text was taken out"
_SHOWN_SETTINGS: Final = 3
_SHOWN_VALUE: Final = 60


class ChangeKind(StrEnum):
    """What was changed. INFRA is what lies below every service: nodes, drivers, the network."""

    DEPLOY = "deploy"
    CONFIG = "config"
    FLAG = "flag"
    SCALE = "scale"
    INFRA = "infra"


_DONE: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.DEPLOY: "Deployed",
    ChangeKind.CONFIG: "Changed the settings of",
    ChangeKind.FLAG: "Switched a flag of",
    ChangeKind.SCALE: "Scaled",
    ChangeKind.INFRA: "Changed",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key that has another value now; empty where there was none, or is none any more."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.before) or '(none)'} -> {_short(self.after) or '(none)'}"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, made at `at` (UTC). `id` is its name at its source.

    What is not known is empty. `workload` is the Kubernetes object as `namespace/name`; `images` are full references.
    `diff` is a configuration's change as its author's tool printed it, `settings` the same by key. `stands_for` are the
    roll-outs seen in Kubernetes that what was told is about, their ids by workload; found anew each time, never stored.
    """

    id: str
    source: str
    at: datetime
    kind: ChangeKind = ChangeKind.DEPLOY
    title: str = ""
    service: str = ""
    model: str = ""
    environment: str = ""
    workload: str = ""
    revision: str = ""
    previous: str = ""
    image: str = ""
    previous_image: str = ""
    by: str = ""
    url: str = ""
    settings: tuple[Setting, ...] = ()
    diff: str = ""
    precision: Precision = Precision.EXACT
    stands_for: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What was changed, by the name people use for it."""
        return self.model or self.service or self.workload.rpartition("/")[2] or "the infrastructure"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, for the ledger and the incident's journal; what is empty is left out."""
        texts = {name: value for name in _TEXTS if (value := getattr(self, name))}
        known: dict[str, Any] = {"source": self.source, "kind": self.kind.value, **texts}
        if self.settings:
            known["settings"] = [[one.key, one.before, one.after] for one in self.settings]
        return known

    @classmethod
    def from_dict(cls, id: str, at: datetime, precision: Precision, known: Mapping[str, Any]) -> "Change":  # noqa: A002
        """What `to_dict` wrote. What was redacted is a change of which only the time is left."""
        if not known:
            return cls(id, "", at, title=GONE, precision=precision)
        settings = tuple(Setting(*one) for one in known.get("settings", ()))
        texts: dict[str, Any] = {name: str(known[name]) for name in _TEXTS if name in known}
        kind = ChangeKind(known["kind"])
        return cls(id, known["source"], at, kind, settings=settings, precision=precision, **texts)

    @classmethod
    def found(cls, event: ChangeFound) -> "Change":
        """The change that an incident's journal holds."""
        return cls.from_dict(event.id, event.at, event.precision, event.change)

    def event(self, *, live: bool) -> ChangeFound:
        """As an incident's journal holds it. `live`: it came up while people were at work on the incident."""
        return ChangeFound(self.id, self.at, self.precision, self.to_dict(), live)


_TEXTS: Final = (
    "title",
    "service",
    "model",
    "environment",
    "workload",
    "revision",
    "previous",
    "image",
    "previous_image",
    "by",
    "url",
    "diff",
)


def concerns(change: Change, service: str, model: str) -> bool:
    """Whether the change may have to do with an incident of this service and model; empty is one of everything.

    Names that both know must agree, and one must be known to both; infrastructure lies below all of them.
    """
    if change.kind is ChangeKind.INFRA or not (service or model):
        return True
    pairs = [(change.service, service), (change.model, model)]
    known = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    return bool(known) and all(ours == theirs for ours, theirs in known)


def is_same(one: Change, other: Change) -> bool:
    """Whether two sources speak of one roll-out. One source tells two changes apart by their ids."""
    if one.source == other.source:
        return one.id == other.id
    if {one.kind, other.kind} - {ChangeKind.DEPLOY, ChangeKind.CONFIG} and one.kind is not other.kind:
        return False
    if KUBERNETES not in (one.source, other.source) or not _same_subject(one, other):
        return False
    if one.image and other.image:
        return tag(one.image) == tag(other.image) and abs(one.at - other.at) <= SAME_IMAGE_WITHIN
    return abs(one.at - other.at) <= SAME_WITHIN


def _same_subject(one: Change, other: Change) -> bool:
    names = [{c.model, c.service, c.workload, c.workload.rpartition("/")[2]} - {""} for c in (one, other)]
    return bool(names[0] & names[1])


def merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes, the newest first, each roll-out once: in the pipeline's words, with what only Kubernetes knows.

    What was told stands for one roll-out of each workload, the nearest; a second one within minutes is another change.
    """
    told: dict[tuple[str, str], Change] = {}
    seen: dict[str, Change] = {}
    for change in changes:
        if change.source == KUBERNETES:
            seen.setdefault(change.id, change)
        else:
            told.setdefault((change.source, change.id), change)
    for name, one in told.items():
        for id_ in one.stands_for.values():
            if (again := seen.pop(id_, None)) is not None:
                told[name] = _completed(told[name], again)
    pairs = [(_distance(one, other), name, other) for name, one in told.items() for other in seen.values()]
    near = [pair for pair in pairs if is_same(told[pair[1]], pair[2])]
    for _, name, other in sorted(near, key=lambda pair: (pair[0], pair[1], pair[2].id)):
        if other.id in seen and other.workload not in told[name].stands_for:
            told[name] = _completed(told[name], seen.pop(other.id))
    return tuple(sorted([*told.values(), *seen.values()], key=lambda one: (one.at, one.id), reverse=True))


def _distance(told: Change, seen: Change) -> tuple[bool, timedelta]:
    """The smaller, the likelier they are one: an image that both name says more than the time."""
    return not (told.image and seen.image), abs(told.at - seen.at)


def _completed(told: Change, seen: Change) -> Change:
    gaps = ("service", "model", "workload", "revision", "previous", "image", "previous_image")
    stands_for = {**told.stands_for, seen.workload: seen.id}
    return replace(
        told, **{name: getattr(seen, name) for name in gaps if not getattr(told, name)}, stands_for=stands_for
    )


def is_known(known: Iterable[Change], change: Change) -> bool:
    """Whether these hold the very change, or speak for it."""
    return any(
        (one.source, one.id) == (change.source, change.id)
        or (change.source == KUBERNETES and change.id in one.stands_for.values())
        for one in known
    )


def news(known: Sequence[Change], found: Iterable[Change]) -> tuple[list[Change], list[Change]]:
    """What an incident that knows these learns by what was found, the oldest first, and what it is to note before.

    A roll-out that its pipeline told of is no news. Where another one is, so near that it could be taken for the one
    told, the first is noted before it: so that the incident knows which one the words stand for.
    """
    found = [one for one in found if not is_known(known, one)]
    after = merged([*known, *found])
    fresh = [one for one in reversed(after) if not is_known(known, one)]
    mistakable = {one.id for one in known if any(is_same(one, new) for new in fresh)}
    spoken_for = {id_ for one in after if one.id in mistakable for id_ in one.stands_for.values()}
    return fresh, [one for one in found if one.id in spoken_for]


def words(change: Change) -> str:
    """The change in one line, without its time: what, from which to which, by whom."""
    what = change.title or f"{_DONE[change.kind]} {change.subject}"
    differs = [moved] if (moved := movement(change)) else []
    if change.settings:
        shown = [str(one) for one in change.settings[:_SHOWN_SETTINGS]]
        rest = len(change.settings) - len(shown)
        shown += [f"{rest} more {'setting' if rest == 1 else 'settings'}"] if rest else []
        differs.append("; ".join(shown))
    elif change.diff:
        differs.append(f"{len(change.diff.splitlines())} lines of configuration differ")
    parts = [f"{what}: {'; '.join(differs)}" if differs else what]
    if change.environment:
        parts.append(f"in {change.environment}")
    if change.by:
        parts.append(f"by {change.by}")
    return ", ".join(parts)


def movement(change: Change) -> str:
    """From which image or revision to which: `llama:1.4.2 -> 1.4.3`; empty where neither is known."""
    if change.image and change.previous_image and change.image != change.previous_image:
        return _images(change.previous_image, change.image)
    if change.revision:
        revision = f"{change.previous} -> {change.revision}" if change.previous else change.revision
        same_image = change.image and change.image == change.previous_image
        return f"{revision} (same image)" if same_image else revision
    return _image(change.image)


def _images(before: str, after: str) -> str:
    """Both images, the name once where only the tag differs."""
    old, new = _image(before), _image(after)
    name, separator, tag = new.partition(":")
    if separator and old.startswith(f"{name}:"):
        return f"{old} -> {tag}"
    return f"{old} -> {new}"


def _image(reference: str) -> str:
    """`registry.example/team/llama:1.4.3` as `llama:1.4.3`; a digest as its first twelve digits."""
    path, at, digest = reference.partition("@")
    name = path.rpartition("/")[2]
    if not at:
        return name
    plain = digest.rpartition(":")[2][:12]
    return f"{name} ({plain})" if ":" in name else f"{name}:{plain}"


def tag(reference: str) -> str:
    """What two references to one image have in common: registries and mirrors differ, name and tag do not."""
    path, _, digest = reference.partition("@")
    name = path.rpartition("/")[2]
    return name if ":" in name else digest or name


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_VALUE else f"{line[: _SHOWN_VALUE - 3]}..."
