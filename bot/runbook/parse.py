"""Markdown to Runbook: finds the front matter and the steps, and reports every fault of form with its line."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.front_matter import front_matter_plugin

from bot.incident.run import TRIES, OnFail, Risk, Verify
from bot.runbook import strict_yaml
from bot.runbook.fields import Fields
from bot.runbook.keys import FRONT_MATTER, PARAM, STEP, UNDO, VERIFY, required
from bot.runbook.kinds import MANUAL
from bot.runbook.model import Fault, Param, Runbook, Step, did_you_mean
from bot.runbook.template import PARAM_NAME, PARAM_TYPES

FORMAT = 1
MAX_BYTES = 128 * 1024
MOST_RETRIES = 5
ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
LABEL = re.compile(r"alert\.labels\.([A-Za-z_][A-Za-z0-9_]*)")
ALERT = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_NUMBER = re.compile(r"^\s*[0-9]{1,3}[.)](?:\s+|$)")
_ALMOST_STEP = re.compile(r"\s*(?:ya?ml\b|step\b)", re.IGNORECASE)
_CALLOUT = re.compile(r"\[!(?:WARNING|CAUTION)\]\s*")
_VISIBLE_CONTROL = frozenset("\n\t")
_BYTE_ORDER_MARK = "\ufeff"
# Letters, marks and symbols by category that show nothing: joiners, fillers, the empty Braille cell, and the variation
# selectors, of which only those that choose between text and emoji have a use here.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]")


def parse(text: str, file: str) -> tuple[Runbook, list[Fault]]:
    """Reads a whole file and never raises. With faults the Runbook is what could be read, good only for lint."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    reading = _Reading(file)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        reading.fault(1, f"longer than {MAX_BYTES // 1024} KiB: split it into two runbooks")
        return Runbook("", "", file, digest), reading.faults
    text = _visible(text, reading)
    tokens = _markdown().parse(text)
    sections = _sections(tokens, text.split("\n"), reading)
    runbook = _front_matter(tokens, Runbook("", "", file, digest, intro=sections.intro), reading)
    steps = tuple(_step(draft, reading) for draft in sections.steps)
    if not sections.found:
        reading.fault(1, "there is no '## Steps' heading")
    elif not steps:
        reading.fault(sections.line, "'## Steps' holds no '### ...' heading")
    return replace(runbook, steps=steps), reading.faults


@dataclass(slots=True)
class _Reading:
    file: str
    faults: list[Fault] = field(default_factory=list)

    def fault(self, line: int, message: str) -> None:
        self.faults.append(Fault(self.file, line, message))


@dataclass(slots=True)
class _Draft:
    """The parts found under one `###` heading; `block` is (line of its first YAML line, YAML).

    `shown` are the lines as they stand of all that people will read: (line, text).
    """

    title: str
    line: int
    block: tuple[int, str] | None = None
    prose: list[str] = field(default_factory=list)
    warning: list[str] = field(default_factory=list)
    checklist: list[str] = field(default_factory=list)
    shown: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Sections:
    intro: str = ""
    found: bool = False
    line: int = 1
    steps: list[_Draft] = field(default_factory=list)


@cache
def _markdown() -> MarkdownIt:
    """One for all files: it keeps nothing of what it reads, and takes longer to make than most files to read.

    Only blocks are looked for: of what stands inside a line, emphasis and links, nothing here asks.
    """
    return MarkdownIt("commonmark").use(front_matter_plugin).disable("inline")


def _visible(text: str, reading: _Reading) -> str:
    """Reports characters that a reader cannot see and puts spaces in their place, so that the rest can be read."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].startswith(_BYTE_ORDER_MARK):
        lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        reading.fault(1, "the file begins with a byte order mark: save it as UTF-8 without BOM")
    for number, line in enumerate(lines, 1):
        if line.isascii() and line.isprintable():
            continue
        hidden = [c for c in line if c not in _VISIBLE_CONTROL and not _is_visible(c)]
        if hidden:
            name = unicodedata.name(hidden[0], f"U+{ord(hidden[0]):04X}")
            reading.fault(number, f"invisible character ({name}): retype this line")
            lines[number - 1] = "".join(" " if c in hidden else c for c in line)
    return "\n".join(lines)


def _is_visible(character: str) -> bool:
    return character == " " or (
        not _BLANK.match(character)
        and unicodedata.category(character) not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
    )


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Top-level blocks, each with all its tokens."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _span(block: list[Token]) -> tuple[int, int]:
    """First and one past the last line, counted from 0."""
    start, end = block[0].map or (0, 0)
    return start, end


def _sections(tokens: Sequence[Token], lines: list[str], reading: _Reading) -> _Sections:
    found = _Sections()
    intro: list[str] = []
    inside = False
    for block in _blocks(tokens):
        first = block[0]
        start, end = _span(block)
        source = (" " if first.type == "paragraph_open" else "\n").join(lines[start:end]).strip()
        if first.type == "heading_open" and first.tag in {"h1", "h2"}:
            inside = first.tag == "h2" and block[1].content.strip().lower() == "steps"
            if inside and found.found:
                reading.fault(start + 1, "there is already a '## Steps' heading above")
            elif inside:
                found.found, found.line = True, start + 1
            elif first.tag == "h2" and not found.found:
                intro.append(source)
        elif inside and first.type == "heading_open" and first.tag == "h3":
            found.steps.append(_Draft(_NUMBER.sub("", block[1].content).strip(), start + 1))
            found.steps[-1].shown.extend(enumerate(lines[start:end], start + 1))
        elif inside and found.steps:
            if _into(found.steps[-1], block, source, reading):
                found.steps[-1].shown.extend(enumerate(lines[start:end], start + 1))
        else:
            _no_stray_step(block, reading)
            if not found.found and first.type != "front_matter":
                intro.append(source)
    found.intro = "\n\n".join(intro)
    return found


def _no_stray_step(block: list[Token], reading: _Reading) -> None:
    for token in block:
        if _is_step(token):
            line = (token.map or [0, 0])[0] + 1
            reading.fault(line, "a yaml step block stands only directly under a '### ...' heading in '## Steps'")


def _is_step(token: Token) -> bool:
    return token.type == "fence" and token.info.split()[:2] == ["yaml", "step"]


def _into(draft: _Draft, block: list[Token], source: str, reading: _Reading) -> bool:
    """Puts a block where it belongs in its step; whether it is for people to read."""
    first = block[0]
    line = _span(block)[0] + 1
    if _is_step(first):
        if draft.block is not None:
            reading.fault(line, f"step '{draft.title}' already has a yaml step block: one per heading")
        else:
            draft.block = (line + 1, first.content)
        return False
    _no_stray_step(block[1:], reading)
    if first.type == "fence" and _ALMOST_STEP.match(first.info):
        reading.fault(line, f"is this the step? Begin its block with ```yaml step, not ```{first.info.strip()}")
    elif first.type == "bullet_list_open" and (items := _checklist(block, reading)):
        draft.checklist.extend(items)
    elif first.type == "blockquote_open" and (callout := _callout(block)) is not None:
        draft.warning.append(callout)
    else:
        draft.prose.append(source)
    return True


def _checklist(block: list[Token], reading: _Reading) -> list[str]:
    """The texts of `- [ ]` items; empty when the list is an ordinary one."""
    items = [token for token in block if token.type == "inline" and token.level == 3]
    if not any(item.content.startswith(("[ ]", "[x]", "[X]")) for item in items):
        return []
    texts = []
    for item in items:
        line = (item.map or [0, 0])[0] + 1
        box, text = item.content[:3], " ".join(item.content[3:].split())
        if box in {"[x]", "[X]"}:
            reading.fault(line, "this item is already ticked: a runbook ships with '- [ ]'")
        elif box != "[ ]" or not text:
            reading.fault(line, "every item of this list must read '- [ ] what to look at'")
        else:
            texts.append(text)
    return texts


def _callout(block: list[Token]) -> str | None:
    """The text of a GitHub `> [!WARNING]`; None for an ordinary quotation."""
    inlines = [token.content for token in block if token.type == "inline"]
    if not inlines or not (mark := _CALLOUT.match(inlines[0])):
        return None
    inlines[0] = inlines[0][mark.end() :]
    return "\n".join(" ".join(text.split("\n")) for text in inlines if text).strip()


def _front_matter(tokens: Sequence[Token], runbook: Runbook, reading: _Reading) -> Runbook:
    if not tokens or tokens[0].type != "front_matter":
        reading.fault(1, "the file must begin with front matter: a line '---', then 'runbook: 1', ..., then '---'")
        return runbook
    block = strict_yaml.read(tokens[0].content, 2)
    fields = Fields.of(block, 1, reading.fault)
    if fields is None:
        return runbook
    if fields.whole("runbook", 1, 1_000, default=0) not in {0, FORMAT}:
        fields.fault("runbook", f"this is format {FORMAT}: write 'runbook: {FORMAT}'")
    fields.required(*required(FRONT_MATTER))
    identifier = fields.text("id", ID, "lower-case words joined by -")
    title, owner, lock = fields.text("title"), fields.text("owner"), fields.text("lock")
    alerts = fields.texts("alerts", ALERT, "an alert name")
    params = tuple(_param(name, part) for name, part in fields.parts("params") if _name_ok(name, fields))
    fields.nothing_else(FRONT_MATTER)
    return replace(
        runbook, id=identifier, title=title, owner=owner, lock=lock, alerts=alerts, params=params, where=block.lines
    )


def _name_ok(name: str, fields: Fields) -> bool:
    if PARAM_NAME.fullmatch(name):
        return True
    fields.fault(f"params.{name}", f"'{name}' cannot be a parameter: lower-case letters, digits and _, at most 40")
    return False


def _param(name: str, fields: Fields) -> Param:
    fields.required(*required(PARAM))
    kind = fields.text("type")
    if kind and kind not in PARAM_TYPES:
        fields.fault("type", f"unknown type '{kind}'; {did_you_mean(kind, PARAM_TYPES)}")
        kind = ""
    origin = fields.text("from", LABEL, "alert.labels.NAME")
    label = LABEL.fullmatch(origin)
    default = fields.text_or_whole("default") if fields.has("default") else None
    about = fields.text("about")
    fields.nothing_else(PARAM)
    return Param(name, kind, label[1] if label else "", default, about)


def _step(draft: _Draft, reading: _Reading) -> Step:
    slug = "-".join(re.findall(r"[a-z0-9]+", draft.title.lower()))
    step = Step(
        id=slug or "step",
        title=draft.title,
        kind=MANUAL,
        line=draft.line,
        prose="\n\n".join(draft.prose),
        warning="\n\n".join(draft.warning),
        checklist=tuple(draft.checklist),
        shown=tuple(draft.shown),
    )
    if not draft.title:
        reading.fault(draft.line, "a step needs a title after '###'")
    if draft.block is None:
        if not draft.checklist:
            reading.fault(draft.line, f"step '{draft.title}' has neither a yaml step block nor a '- [ ]' checklist")
        return step
    line, source = draft.block
    block = strict_yaml.read(source, line)
    fields = Fields.of(block, draft.line, reading.fault)
    return replace(step, kind="") if fields is None else _filled(step, fields)


def _filled(step: Step, fields: Fields) -> Step:
    fields.required(*required(STEP))
    kind = fields.text("do")
    undo, no_undo = _undo(fields)
    filled = replace(
        step,
        id=fields.text("id", ID, "lower-case words joined by -") or step.id,
        kind=kind,
        args=_args(fields),
        risk=fields.choice("risk", Risk),
        timeout=fields.duration("timeout"),
        retry=fields.whole("retry", 0, MOST_RETRIES, TRIES - 1),
        verify=_verify(fields),
        undo=undo,
        no_undo=no_undo,
        lease=fields.duration("lease"),
        on_fail=fields.choice("on_fail", OnFail) or OnFail.STOP,
        where=fields.lines,
    )
    fields.nothing_else(STEP)
    return filled


def _args(fields: Fields) -> dict[str, Any]:
    part = fields.part("with")
    return dict(part.values) if part else {}


def _verify(fields: Fields) -> Verify | None:
    part = fields.part("verify")
    if part is None:
        return None
    part.required(*required(VERIFY))
    query, expect = part.text("query"), part.text("expect")
    hold, within = part.duration("for"), part.duration("within")
    part.nothing_else(VERIFY)
    if not query or not expect or within is None:
        return None
    hold = hold or timedelta(0)
    if hold >= within:
        part.fault("within" if part.has("within") else "", "'within' must be longer than 'for'")
    return Verify(query, expect, hold, within)


def _undo(fields: Fields) -> tuple[str | None, str]:
    """`auto`, the id of a step, or `{none: reason}`."""
    if isinstance(fields.values.get("undo"), dict):
        part = fields.part("undo")
        assert part is not None
        part.required(*required(UNDO))
        reason = part.text("none")
        part.nothing_else(UNDO)
        return None, reason
    return fields.text("undo") or None, ""
