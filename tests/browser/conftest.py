"""A headless Chromium before everything that `python -m bot.workbench` starts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page

from bot.workbench.launch import Options, Workbench
from bot.workbench.settings import Ports
from tests.clocked import patient_slack

ANY = Ports(**dict.fromkeys(Ports.__dataclass_fields__, 0))
PATIENCE_MS = 30_000
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PICTURES = Path(__file__).parents[2] / "artifacts" / "first-minute"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """The whole product on free ports, as a newcomer starts it."""
    for program, package in (("prometheus", "prometheus"), ("prometheus-alertmanager", "prometheus-alertmanager")):
        if not shutil.which(program):
            pytest.skip(f"needs {package}")
    with patient_slack(), Workbench(Options(ports=ANY, directory=tmp_path)) as running:
        yield running


@dataclass
class Newcomer:
    """Somebody who opens the page for the first time."""

    page: Page
    bench: Workbench

    def open(self) -> None:
        """The address that the workbench prints at its start."""
        self.page.goto(self.bench.ports.url("page"))
        self.page.locator(".intro").wait_for()

    def become(self, name: str) -> None:
        """Go on as somebody else."""
        self.page.get_by_role("radio", name=f"Act as {name}").click()
        self.page.locator(".who-name").filter(has_text=name).wait_for()

    def message(self, words: str | re.Pattern[str]) -> Locator:
        """The newest message of the channel with these words, apart from the card."""
        return self.page.locator(".channel .msg:not(.msg-pinned)").filter(has_text=words).last

    def pinned(self) -> Locator:
        """The incident's card."""
        return self.page.locator(".channel .msg-pinned")

    def press(self, within: Locator, name: str | re.Pattern[str]) -> None:
        """Press the button that is called so."""
        within.get_by_role("button", name=name, exact=True).click()

    def top_of(self, message: Locator) -> None:
        """Scroll so that the message begins where the list begins."""
        message.evaluate("node => node.scrollIntoView({block: 'start'})")

    def type(self, text: str) -> None:
        """Write into the message box, and send."""
        box = self.page.locator(".composer textarea").first
        box.fill(text)
        box.press("Escape")  # the list of completions
        box.press("Enter")

    def picture(self, name: str, page: Page | None = None) -> None:
        """Keep a picture for a person to look at, in light and in dark."""
        page = page or self.page
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.mouse.move(0, 0)  # nothing is hovered over
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=PICTURES / f"{name}-{scheme}.png", animations="disabled")
        page.emulate_media(color_scheme="light")


@pytest.fixture
def quiet_bench(tmp_path: Path) -> Iterator[Workbench]:
    """The same without alerts: what happens is what people declare."""
    with patient_slack(), Workbench(Options(ports=ANY, directory=tmp_path, monitoring=False)) as running:
        yield running


@pytest.fixture
def newcomer(browser: Browser, bench: Workbench) -> Iterator[Newcomer]:
    """A newcomer before everything."""
    yield from _newcomer(browser, bench)


@pytest.fixture
def declarer(browser: Browser, quiet_bench: Workbench) -> Iterator[Newcomer]:
    """A newcomer where no alert fires."""
    yield from _newcomer(browser, quiet_bench)


def _newcomer(browser: Browser, bench: Workbench) -> Iterator[Newcomer]:
    """A page that logs an error, a refused resource included, fails its test at the end."""
    faults: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    yield Newcomer(page, bench)
    context.close()
    assert faults == []
