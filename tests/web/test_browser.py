"""The pages in a real browser: they renew themselves without a jump, obey their own rules, and fit a phone."""

import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from starlette.types import Receive, Scope, Send

from bot.incident import commands as cmd
from tests.web.site import RUNBOOK, Site, evidence

PICTURES = Path(__file__).parents[2] / "artifacts" / "web"
ROUND_MS = 15_500


async def _serve(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever the site's pages are by now."""
    await site.app(scope, receive, send)


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    """Where the pages are served."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(partial(_serve, site), interface="asgi3", log_config=None, lifespan="off", ws="none")
        )
        ready = threading.Event()
        startup = server.startup

        async def start(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            ready.set()

        server.startup = start  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert ready.wait(10)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said; a broken content rule is among it."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()


def test_the_board_renews_itself(site: Site, address: str, page: Page) -> None:
    page.clock.install()
    page.goto(address)
    expect(page.get_by_role("heading", name="All quiet")).to_be_visible()
    site.alerts(3, new=3)
    page.clock.run_for(ROUND_MS)
    expect(page.get_by_role("link", name="llama-70b answers with errors")).to_be_visible()
    expect(page).to_have_title("(1) Incidents · FixFirst")


def test_a_renewed_incident_keeps_what_was_opened_and_where_one_stood(site: Site, address: str, page: Page) -> None:
    site.alerts(3, new=3)
    site.receipt(evidence())
    page.clock.install()
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto(f"{address}/incidents/INC-1")
    page.get_by_text("3 more checks").click()
    page.evaluate("scrollTo({top: 300, behavior: 'instant'})")
    stood = page.evaluate("scrollY")
    assert stood > 200
    site.after(minutes=1).do(cmd.Acknowledge)
    page.clock.run_for(ROUND_MS)
    expect(page.get_by_text("Maya Okafor acknowledged")).to_be_attached()
    expect(page.get_by_text("no Xid in the last 10 min")).to_be_visible()
    assert page.evaluate("scrollY") == stood


def test_a_selection_is_not_taken_away(site: Site, address: str, page: Page) -> None:
    site.alerts(3, new=3)
    page.clock.install()
    page.goto(f"{address}/incidents/INC-1")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    site.do(cmd.Acknowledge)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(ROUND_MS)
    page.evaluate("fetch('/healthz').then(answer => answer.text())")
    assert page.url not in asked
    assert page.evaluate("String(getSelection())") == "llama-70b answers with errors"
    page.evaluate("getSelection().removeAllRanges()")
    page.clock.run_for(ROUND_MS)
    expect(page.get_by_text("Maya Okafor acknowledged")).to_be_attached()


def test_a_bot_that_does_not_answer_is_said_and_forgiven(site: Site, address: str, page: Page) -> None:
    page.clock.install()
    page.goto(address)
    page.route("**/*", lambda route: route.abort())
    page.clock.run_for(ROUND_MS)
    expect(page.get_by_text("the bot does not answer")).to_be_visible()
    page.unroute("**/*")
    page.clock.run_for(ROUND_MS)
    expect(page.get_by_text("the bot does not answer")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_fits_and_breaks_no_rule_of_its_own(
    site: Site, address: str, page: Page, complaints: list[str], theme: str, width: int
) -> None:
    site.night()
    long = "a" * 120 + " " + "b" * 120
    site.after(hours=5).alerts(14, new=14, incident="i2", recurs="i1", title=long, service=long, model=long)
    site.receipt(evidence(impact=long), incident="i2")
    site.after(minutes=1).do(cmd.StateImpact, "i2", text=long)
    faulty = RUNBOOK.replace("id: rollback\n", "id: faulty\n", 1).replace("undo: auto", f"{long[:120]}: auto")
    (site.runbooks / "faulty.md").write_text(faulty.replace("Roll back", long).replace("team-inference", long))
    site.open_pages()
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    paths = (
        "/",
        "/incidents/INC-1",
        "/incidents/INC-2",
        "/postmortems",
        "/runbooks",
        "/runbooks/rollback",
        "/runbooks/faulty",
    )
    PICTURES.mkdir(parents=True, exist_ok=True)
    for path in (*paths, f"/postmortems/{site.shelf.names()[0]}"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        name = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "board"
        page.screenshot(path=PICTURES / f"{name}-{theme}-{width}.png", full_page=True)
    assert not complaints


def test_a_postmortem_prints_without_the_frame(site: Site, address: str, page: Page) -> None:
    site.night()
    page.goto(f"{address}/postmortems/{site.shelf.names()[0]}")
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.get_by_text("Save as Markdown")).to_be_hidden()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()


def test_the_keyboard_reaches_the_content_first(site: Site, address: str, page: Page) -> None:
    page.goto(address)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
