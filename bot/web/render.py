"""What the pages are made with: templates that escape everything, and Markdown made safe."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from bot.postmortem.render import to_html
from bot.web import views


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bot.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["path"] = lambda text: quote(str(text), safe="")
    environment.filters["web"] = lambda url: url if str(url).startswith(("https://", "http://")) else ""
    return environment


_TEMPLATES: Final = _environment()


def page(template: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
    """A page from its template. KeyError-like for a value that is missing: nothing is silently empty."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status)


def rendered(markdown: str) -> Mapping[str, Any]:
    """`body` and `headings` of a text to read; both are safe as they are, because `to_html` sanitized them."""
    html = to_html(markdown)
    headings = [(heading.anchor, Markup(heading.html)) for heading in views.outline(html)]  # noqa: S704
    return {"body": Markup(html), "headings": headings}  # noqa: S704
