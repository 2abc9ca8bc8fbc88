"""Form: what is read from a file, and which line each fault names."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.incident.run import OnFail, Risk, Verify
from bot.runbook.model import Fault, Runbook
from bot.runbook.parse import parse
from bot.runbook.shelf import check

Changed = Callable[[str, str], list[Fault]]
STRANGE = (
    *(
        "```",
        "```yaml step",
        "~~~",
        "---",
        "  - a",
        "'",
        "{",
        "[",
        "? a",
        "...",
        "\t- x",
        "\r",
        "\x00",
        "\u2028",
        "\ufeff",
    ),
    *(
        "verify:",
        "undo: {none: [",
        "with: {query: 'x{a=~\"(\"}', expect: 1}",
        "with: {query: 'x offset inf'}",
        "risk: read",
    ),
    *(
        "{{ model",
        "{% raw %}",
        "> [!WARNING]",
        "- [ ] {{ nod }}",
        "## Steps",
        "### ",
        "<!--",
        "params:",
        "lock: {{ x }}",
    ),
)
QUOTES = 'YAML: a key must be plain text; a placeholder stands in quotes: "{{ name }}"'


def test_a_runbook_is_read_with_its_prose_its_warning_and_its_checklist(good: Runbook) -> None:
    assert (good.id, good.title, good.owner, good.alerts) == (
        "warm-cache",
        "Warm the cache",
        "team-a",
        ("CacheCold",),
    )
    assert good.intro == "When answers are slow after a restart."
    cold, look, warm = good.steps
    assert (cold.id, cold.title, cold.prose) == ("check-cold", "Is it cold?", "Look before you act.")
    assert (look.id, look.kind, look.checklist) == (
        "have-a-look",
        "manual",
        ("{{ node }} is up", "Nobody else is at it"),
    )
    assert (warm.warning, warm.timeout) == ("Slow for a minute.", timedelta(seconds=90))
    assert warm.verify == Verify('hits{model="{{ model }}"}', "> 0.5", timedelta(seconds=30), timedelta(minutes=5))
    assert (warm.undo, warm.no_undo, warm.on_fail) == (None, "a warm cache does no harm", OnFail.STOP)


def test_the_digest_is_of_the_whole_text_so_any_edit_changes_it(text: str, good: Runbook) -> None:
    other, _ = parse(text + "\nOne more word.\n", "runbooks/warm-cache.md")
    assert len(good.digest) == 64
    assert other.digest != good.digest


def test_windows_line_ends_are_read_the_same(text: str) -> None:
    runbook, faults = check(text.replace("\n", "\r\n"), "warm-cache.md")
    assert faults == []
    assert runbook is not None
    assert [step.line for step in runbook.steps] == [16, 23, 26]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("runbook: 1", "runbook: 2", 2, "this is format 1: write 'runbook: 1'"),
        ("title: Warm the cache\n", "", 1, "'title' is missing"),
        ("owner: team-a", "owner: team-a\nonwer: team-b", 6, "unknown key 'onwer'; did you mean 'owner'?"),
        ("alerts: [CacheCold]", "alerts: CacheCold", 6, "'alerts' must be a list: [One, Two]"),
        ("type: k8s_name", "type: k8s_nam", 9, "unknown type 'k8s_nam'; did you mean 'k8s_name'?"),
        (
            "from: alert.labels.node",
            "from: labels.node",
            9,
            "'params.node.from' must be alert.labels.NAME, not 'labels.node'",
        ),
        ("  node: {", "  Node: {", 9, "'Node' cannot be a parameter: lower-case letters, digits and _, at most 40"),
        ("do: promql.assert", "do: promql.assert\ndo: promql.assert", 21, "YAML: the key 'do' stands here twice"),
        ('model: "{{ model }}"', "model: {{ model }}", 35, QUOTES),
        ("timeout: 1m30s", "timeout: 90", 36, "'timeout' must be a time such as 30s, 5m or 1h30m, not '90'"),
        ("timeout: 1m30s", "timeout: 0s", 36, "'timeout' must be a time such as 30s, 5m or 1h30m, not '0s'"),
        ("timeout: 1m30s", "retry: 6", 36, "'retry' must be a whole number from 0 to 5"),
        ("timeout: 1m30s", "retry: true", 36, "'retry' must be a whole number from 0 to 5"),
        ("timeout: 1m30s", "on_fail: undoo", 36, "'on_fail' cannot be 'undoo'; did you mean 'undo'?"),
        ("timeout: 1m30s", "tmeout: 90s", 36, "unknown key 'tmeout'; did you mean 'timeout'?"),
        ("timeout: 1m30s", "timeout: &t 90s", 36, "YAML: anchors and aliases are not allowed: write the value out"),
        ("timeout: 1m30s", "timeout: !!str 90s", 36, "YAML: tags are not allowed"),
        ("timeout: 1m30s", "timeout: [[[[[[[[[1]]]]]]]]]", 36, "YAML: nested deeper than 8 levels"),
        ("for: 30s", "for: 5m", 37, "'within' must be longer than 'for'"),
        ("within: 5m", "withn: 5m", 37, "'verify.within' is missing"),
        ("Nobody else", "Nobody\u00a0else", 25, "invisible character (NO-BREAK SPACE): retype this line"),
        ("Nobody else", "Nobody\u202eelse", 25, "invisible character (RIGHT-TO-LEFT OVERRIDE): retype this line"),
        ("- [ ] Nobody", "- [x] Nobody", 25, "this item is already ticked: a runbook ships with '- [ ]'"),
        ("- [ ] Nobody", "- Nobody", 25, "every item of this list must read '- [ ] what to look at'"),
        ("Nobody else", "Nobody\u200belse", 25, "invisible character (ZERO WIDTH SPACE): retype this line"),
        ("Nobody else", "Nobody\u3164else", 25, "invisible character (HANGUL FILLER): retype this line"),
        ("Nobody else", "Nobody\ufe01else", 25, "invisible character (VARIATION SELECTOR-2): retype this line"),
        ("endpoint: warm", "endpoint: w\u00adarm", 34, "invisible character (SOFT HYPHEN): retype this line"),
        (
            "---\nrunbook: 1",
            "\ufeff---\nrunbook: 1",
            1,
            "the file begins with a byte order mark: save it as UTF-8 without BOM",
        ),
        ("## Steps", "## Step", 1, "there is no '## Steps' heading"),
        (
            "### 3. Warm {{ model }}",
            "## Steps\n### 3. Warm {{ model }}",
            26,
            "there is already a '## Steps' heading above",
        ),
        ("### 2. Have a look", "### 2.", 23, "a step needs a title after '###'"),
        ("runbook: 1", "# runbook", 1, "'runbook' is missing"),
        ("id: warm-cache", "id: Warm_Cache", 3, "'id' must be lower-case words joined by -, not 'Warm_Cache'"),
        ("owner: team-a", "owner:", 5, "'owner' is empty: give it a value, or take the line out"),
        ("owner: team-a", "owner: 007: x", 5, "YAML: mapping values are not allowed here"),
        ("owner: team-a", "owner: true", 5, "'owner' must be text; put it in quotes"),
        ("[CacheCold]", "[Cache Cold]", 6, "'Cache Cold' is not an alert name"),
        (
            "{from: alert.labels.node, type: k8s_name, default: node-1}",
            "k8s_name",
            9,
            "'params.node' must hold 'key: value' lines",
        ),
        (
            "{from: alert.labels.node, type: k8s_name, default: node-1}",
            "",
            9,
            "'params.node' must hold 'key: value' lines",
        ),
        ("type: k8s_name, default", "default", 9, "'params.node.type' is missing"),
        (", default: node-1", ", defualt: node-1", 9, "unknown key 'params.node.defualt'; did you mean 'default'?"),
        ("id: warm\n", "", 26, "'id' is missing"),
        ("do: http.request\n", "", 26, "'do' is missing"),
        ("do: http.request", "do:", 32, "'do' is empty: give it a value, or take the line out"),
        ("timeout: 1m30s", "retry: yes", 36, "'retry' must be a whole number from 0 to 5"),
        ("timeout: 1m30s", "retry: 02", 36, "'retry' must be a whole number from 0 to 5"),
        (
            "timeout: 1m30s",
            "timeout: 12:30:00",
            36,
            "'timeout' must be a time such as 30s, 5m or 1h30m, not '12:30:00'",
        ),
        ("timeout: 1m30s", "timeout: 8d", 36, "'timeout' must be a time such as 30s, 5m or 1h30m, not '8d'"),
        ("timeout: 1m30s", "timeout: on", 36, "'timeout' must be a time such as 30s, 5m or 1h30m, not 'on'"),
        ("timeout: 1m30s", "timeout: *t", 36, "YAML: anchors and aliases are not allowed: write the value out"),
        (
            "timeout: 1m30s",
            "<<: {a: 1}",
            36,
            "unknown key '<<'; known: do, id, lease, on_fail, retry, risk, timeout, undo, verify, with",
        ),
        ("undo: {none: a warm cache does no harm}", 'undo: "auto', 38, "YAML: found unexpected end of stream"),
        (
            "undo: {none: a warm cache does no harm}",
            "undo: {none: [a",
            38,
            "YAML: expected ',' or ']', but got '<stream end>'",
        ),
        ("timeout: 1m30s", "\ttimeout: 1m", 36, "YAML: found character '\\t' that cannot start any token"),
        ("timeout: 1m30s", "risk: high", 36, "'risk' cannot be 'high'; known: destructive, read, reversible"),
        (
            "undo: {none: a warm cache does no harm}",
            "undo: {nome: no}",
            38,
            "unknown key 'undo.nome'; did you mean 'none'?",
        ),
        (
            "undo: {none: a warm cache does no harm}",
            "undo: {none: }",
            38,
            "'undo.none' is empty: give it a value, or take the line out",
        ),
        (
            "undo: {none: a warm cache does no harm}",
            "undo: ~",
            38,
            "'undo' is empty: give it a value, or take the line out",
        ),
        (
            """verify: {query: 'hits{model="{{ model }}"}', expect: "> 0.5", for: 30s, within: 5m}""",
            "verify:",
            37,
            "'verify' is empty: give it a value, or take the line out",
        ),
        (
            """verify: {query: 'hits{model="{{ model }}"}', expect: "> 0.5", for: 30s, within: 5m}""",
            "verify: up",
            37,
            "'verify' must hold 'key: value' lines",
        ),
        (
            "```yaml step\nid: warm",
            "```YAML step\nid: warm",
            30,
            "is this the step? Begin its block with ```yaml step, not ```YAML step",
        ),
        (
            "```yaml step\nid: warm",
            "```step\nid: warm",
            30,
            "is this the step? Begin its block with ```yaml step, not ```step",
        ),
        ("id: warm\ndo: http.request", "- id: warm", 32, "YAML: expected <block end>, but found '?'"),
    ],
)
def test_each_fault_of_form_names_its_line(changed: Changed, old: str, new: str, line: int, message: str) -> None:
    assert (line, message) in [(fault.line, fault.message) for fault in changed(old, new)]


def test_all_faults_come_at_once_and_read_like_a_compiler(text: str) -> None:
    text = (
        text.replace("timeout: 1m30s", "timeout: soon")
        .replace("alerts: [", "alert: [")
        .replace("do: promql", "do: promq")
    )
    _, faults = check(text, "runbooks/warm-cache.md")
    assert [str(fault) for fault in faults] == [
        "runbooks/warm-cache.md:6: unknown key 'alert'; did you mean 'alerts'?",
        "runbooks/warm-cache.md:20: step 'check-cold': unknown kind 'promq.assert'; did you mean 'promql.assert'?",
        "runbooks/warm-cache.md:36: 'timeout' must be a time such as 30s, 5m or 1h30m, not 'soon'",
    ]


def test_a_step_with_neither_block_nor_checklist_is_a_fault_and_a_near_miss_is_named(changed: Changed) -> None:
    faults = changed("```yaml step\nid: warm", "```yaml\nid: warm")
    assert [(fault.line, fault.message) for fault in faults] == [
        (26, "step 'Warm {{ model }}' has neither a yaml step block nor a '- [ ]' checklist"),
        (30, "is this the step? Begin its block with ```yaml step, not ```yaml"),
    ]


def test_a_step_block_outside_the_steps_is_never_carried_out_silently(text: str) -> None:
    other = text.replace("## Steps\n", "```yaml step\nid: a\ndo: manual\n```\n## Steps\n")
    _, faults = check(other, "warm-cache.md")
    assert [fault.line for fault in faults] == [15]
    assert "only directly under" in faults[0].message


def test_a_step_block_hidden_in_a_quotation_is_a_fault(changed: Changed) -> None:
    faults = changed("> Slow for a minute.", "> ```yaml step\n> id: sneaky\n> do: manual\n> ```")
    assert ["only directly under" in fault.message for fault in faults] == [True]


def test_two_blocks_under_one_heading_are_a_fault(text: str) -> None:
    _, faults = check(text + "\n```yaml step\nid: again\ndo: manual\n```\n", "warm-cache.md")
    assert [fault.message for fault in faults] == [
        "step 'Warm {{ model }}' already has a yaml step block: one per heading"
    ]


def test_headings_below_the_steps_are_prose_for_people(text: str) -> None:
    runbook, faults = check(text + "\n## What good looks like\n### Not a step\nWarm.\n", "warm-cache.md")
    assert faults == []
    assert runbook is not None
    assert len(runbook.steps) == 3


@pytest.mark.parametrize("word", ["on", "yes", "010", "12:30:00", "1_000", "0x10", "2026-01-01"])
def test_what_yaml_would_turn_into_something_else_stays_text(text: str, word: str) -> None:
    runbook, _ = parse(text.replace("endpoint: warm", f"endpoint: {word}"), "warm-cache.md")
    assert runbook.steps[2].args["endpoint"] == word


def test_risk_is_read_as_stated(text: str) -> None:
    runbook, _ = parse(text.replace("timeout: 1m30s", "risk: destructive"), "warm-cache.md")
    assert runbook.steps[2].risk is Risk.DESTRUCTIVE


def test_a_file_over_the_limit_is_refused_unread() -> None:
    runbook, faults = parse("---\n" + "x" * 200_000, "big.md")
    assert [fault.message for fault in faults] == ["longer than 128 KiB: split it into two runbooks"]
    assert runbook.steps == ()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text())
@example("")
@example("---")
@example("---\n---")
@example("---\n...\n## Steps\n### x")
@example('---\nid: "\\UFFFFFFFF"\n---')
@example("## Steps\n### a\n```yaml step\n{{{{{{{{{{\n```")
@example("## Steps\n### a\n```yaml step\n%YAML 9999999999.1\n---\n```")
@example("## Steps\n###\n- [ ]")
@example("\ud800")
@example("## Steps\n### a\n```yaml step\na: [")
@example("## Steps\n### a\n```yaml step\na: 'b")
@example("---\nrunbook: 1\nparams: {a: {type: [}}\n---")
def test_any_text_gives_faults_and_never_an_error(anything: str) -> None:
    runbook, faults = check(anything, "any.md")
    assert (runbook is None) == bool(faults)
    assert all(1 <= fault.line <= anything.count("\n") + 1 for fault in faults)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(data=st.data())
def test_a_torn_or_shuffled_runbook_gives_faults_and_never_an_error(text: str, data: st.DataObject) -> None:
    lines = [*text.split("\n"), *STRANGE]
    cut = data.draw(st.integers(0, len(text)))
    for other in (
        "\n".join(data.draw(st.lists(st.sampled_from(lines)))),
        text[:cut] + data.draw(st.text(max_size=5) | st.sampled_from(STRANGE)) + text[cut:],
        text[:cut],
    ):
        _, faults = check(other, "warm-cache.md")
        assert all(1 <= fault.line <= other.count("\n") + 1 for fault in faults), faults
