"""What the template and Markdown libraries do when left alone, and that ours do not: run what a text says."""

import os

import pytest
from jinja2 import Environment
from jinja2.exceptions import SecurityError
from markdown_it import MarkdownIt

from bot.postmortem import draft
from bot.postmortem.render import to_html
from bot.web import render
from tests.core.case import Case
from tests.postmortem.stories import drafted

SCRIPT = "<script>alert(1)</script>"
ESCAPES = [
    "{{ cycler.__init__.__globals__.os.getpid() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__.__builtins__.open('/etc/passwd').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
]


@pytest.mark.parametrize("kind", ["commonmark", "gfm-like"])
def test_markdown_passes_a_script_by_default_and_ours_shows_it(kind: str) -> None:
    assert SCRIPT in MarkdownIt(kind).render(SCRIPT)
    assert to_html(SCRIPT) == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"


def test_a_template_reaches_the_operating_system_by_default_and_ours_does_not() -> None:
    assert Environment().from_string(ESCAPES[0]).render() == str(os.getpid())
    with pytest.raises(SecurityError):
        draft._template().environment.from_string(ESCAPES[0]).render()


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_escape_that_is_known_leads_out_of_the_postmortem_s_environment(escape: str) -> None:
    with pytest.raises(SecurityError):
        draft._template().environment.from_string(escape).render()


@pytest.mark.parametrize("escape", ESCAPES)
def test_what_an_alert_says_is_never_a_template(escape: str) -> None:
    case = Case().alerts(1, new=1, title=escape)
    assert case.inc.title == escape
    assert escape.split()[1].split("(", maxsplit=1)[0] in drafted(case).replace("\\", "")
    page = render._environment().from_string("{{ incident.title }}").render(incident=case.inc)
    assert page.replace("&#39;", "'") == escape
