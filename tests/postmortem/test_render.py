"""A page made of Markdown can be read and does nothing else."""

import re

import pytest

from bot.incident import commands as cmd
from bot.postmortem.render import to_html
from tests.core.case import Case
from tests.postmortem.stories import drafted, night

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](//evil.example)",
    "[x](/\\evil.example)",
    "![x](https://evil.example/track.png)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](https://e.example "onmouseover=alert(1)")',
    "```html\n<script>alert(1)</script>\n```",
    "<style>*{display:none}</style>",
    "<iframe src=https://evil.example>",
    "<base href=https://evil.example>",
    "<form action=https://evil.example><input name=a></form>",
    "<!--><script>alert(1)</script>-->",
    "> [!WARNING] <b onclick=x>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_only_text(attack: str) -> None:
    """A whole web address may become a link, which shows where it leads; nothing else of an attack becomes a tag."""
    html = to_html(f"# T\n\n{attack}\n\n| a |\n|---|\n| {attack.splitlines()[0]} |\n")
    for tag in re.findall(r"<[^>]*>", html):
        assert re.fullmatch(
            r"</?(?:h1|p|a|table|thead|tbody|tr|th|td|pre|code|blockquote|em|strong|br|s)"
            r"(?: (?:href=\"(?:https://|/%5C)[a-z./]+\"|rel=\"noopener noreferrer\"|id=\"t\"|class=\"warning\"))* ?/?>",
            tag,
        ), tag


def test_a_draft_shows_its_tables_and_hides_its_markers() -> None:
    html = to_html(drafted(night()))
    assert html.count("<table>") == 6
    assert "gen:" not in html
    assert '<h2 id="timeline">Timeline</h2>' in html


def test_whole_addresses_are_links_and_file_names_are_not() -> None:
    html = to_html("see https://a.example/b_c and serve.py and [ours](/incidents/INC-1)")
    assert '<a href="https://a.example/b_c" rel="noopener noreferrer">' in html
    assert '<a href="/incidents/INC-1"' in html
    assert "serve.py</a>" not in html


def test_a_front_matter_does_not_show_and_headings_can_be_pointed_at() -> None:
    html = to_html("---\nid: x\n---\n\n## Steps\n\n## Steps\n")
    assert html == '<h2 id="steps">Steps</h2>\n<h2 id="steps-2">Steps</h2>\n'


def test_a_warning_looks_like_one() -> None:
    assert '<blockquote class="warning">' in to_html("> [!WARNING]\n> hot")


def test_an_address_in_free_text_can_be_clicked_whole() -> None:
    case = Case().alerts(1, new=1).do(cmd.AddNote, text="see https://g.example/d?a=1&b=2_c~d, then | go.")
    html = to_html(drafted(case))
    assert '<a href="https://g.example/d?a=1&amp;b=2_c~d" rel="noopener noreferrer">' in html
    assert "then | go." in html


def test_html_in_the_text_is_shown_as_it_was_written() -> None:
    assert to_html("<b>x</b>") == "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"


def test_a_picture_of_ours_is_shown_and_one_from_elsewhere_is_its_words() -> None:
    assert '<img src="inc-42-ev-7f3k2qab.png" alt="the night">' in to_html("![the night](inc-42-ev-7f3k2qab.png)")
    html = to_html("![the night](https://evil.example/inc-42-ev-7f3k2qab.png) ![up](../inc-42-ev-7f3k2qab.png)")
    assert "<img" not in html
    assert "the night" in html
