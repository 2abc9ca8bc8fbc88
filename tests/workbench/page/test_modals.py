"""The bot's modals: inputs, errors, stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Bot, Desk
from .content import card, modal, plain

Json = dict[str, Any]


def opens(desk: Desk, view: Json) -> Callable[[Json], Json | None]:
    """A reply of the bot that opens `view`."""

    def reply(said: Json) -> None:
        answer = desk.bench.workspace.api("views.open", {"trigger_id": said["trigger_id"], "view": view})
        assert answer.body["ok"], answer.body

    return reply


@pytest.fixture
def page(desk: Desk, bot: Bot) -> Page:
    """The page with the modal open."""
    bot.replies["runbook"] = opens(desk, modal())
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    page.get_by_role("button", name="Run a runbook").click()
    page.get_by_role("dialog", name="Declare an incident").wait_for()
    assert bot.next()["type"] == "block_actions"
    return page


def test_an_empty_required_input_is_shown_where_it_is_and_not_sent(page: Page, desk: Desk, bot: Bot) -> None:
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.locator(".input-error:visible")).to_have_text(["Please complete this required field."] * 2)
    expect(page.get_by_label("What is broken?")).to_be_focused()
    desk.picture("modal-errors-light")
    assert bot.heard.empty()


def test_what_was_filled_in_reaches_the_bot_in_slacks_shape(page: Page, bot: Bot) -> None:
    page.get_by_label("What is broken?").fill("Search answers 503")
    page.get_by_role("radio", name="SEV2").check()
    page.get_by_label("Choose models").click()
    page.get_by_role("option", name="mistral-small").click()
    page.keyboard.press("Escape")
    page.get_by_label("Choose a person").click()
    page.keyboard.type("priya")
    page.keyboard.press("Enter")
    page.get_by_label("Page the on-call").check()
    page.get_by_label("Started at").fill("2026-11-21T07:00")
    page.get_by_label("Failed requests").fill("120")
    page.get_by_label("Dashboard").fill("https://example.com/d/1")
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    values = bot.next()["view"]["state"]["values"]
    assert values["title"]["value"] == {"type": "plain_text_input", "value": "Search answers 503"}
    assert values["severity"]["value"]["selected_option"]["value"] == "sev2"
    assert [entry["value"] for entry in values["model"]["value"]["selected_options"]] == ["mistral"]
    assert values["commander"]["value"]["selected_user"] == "U0PRIYA"
    assert values["impact"]["value"]["value"] is None
    assert [entry["value"] for entry in values["share"]["value"]["selected_options"]] == ["page"]
    assert values["when"]["value"]["selected_date_time"] > 1_790_000_000
    assert values["requests"]["value"]["value"] == "120"
    assert values["dashboard"]["value"]["value"] == "https://example.com/d/1"


def test_the_bots_own_errors_stand_at_their_inputs_and_keep_what_was_typed(page: Page, bot: Bot) -> None:
    said = "There is already an incident with this title."
    bot.replies["declare"] = lambda _: {"response_action": "errors", "errors": {"title": said}}
    page.get_by_label("What is broken?").fill("Search answers 503")
    page.get_by_role("radio", name="SEV1").check()
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.locator(".input-error:visible")).to_have_text([said])
    expect(page.get_by_label("What is broken?")).to_have_value("Search answers 503")


@pytest.mark.parametrize(
    ("label", "typed", "error"),
    [
        ("Failed requests", "-1", "This must be at least 0."),
        ("Dashboard", "ftp://x", "Please enter a valid URL."),
    ],
)
def test_an_input_that_cannot_be_right_is_refused_before_it_is_sent(
    page: Page, bot: Bot, label: str, typed: str, error: str
) -> None:
    page.get_by_label("What is broken?").fill("x")
    page.get_by_role("radio", name="SEV1").check()
    page.get_by_label(label).fill(typed)
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.locator(".input-error:visible")).to_have_text([error])
    assert bot.heard.empty()


def test_a_view_that_is_updated_keeps_what_was_typed(page: Page, desk: Desk) -> None:
    page.get_by_label("What is broken?").fill("Search answers 503")
    (view,) = desk.bench.workspace.open_views("U0MAYA")
    changed = modal()
    changed["blocks"].insert(1, {"type": "section", "block_id": "hint", "text": plain("Two alerts look like it.")})
    answer = desk.bench.workspace.api("views.update", {"view_id": view.id, "view": changed})
    assert answer.body["ok"], answer.body
    expect(page.get_by_text("Two alerts look like it.")).to_be_visible()
    expect(page.get_by_label("What is broken?")).to_have_value("Search answers 503")
    expect(page.get_by_label("What is broken?")).to_be_focused()


def test_a_pushed_view_covers_the_first_and_escape_brings_it_back(page: Page, bot: Bot) -> None:
    second = modal() | {"title": plain("Are you sure?"), "callback_id": "sure"}
    bot.replies["declare"] = lambda _: {"response_action": "push", "view": second}
    page.get_by_label("What is broken?").fill("Search answers 503")
    page.get_by_role("radio", name="SEV1").check()
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.get_by_role("dialog", name="Are you sure?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Declare an incident")).to_be_visible()
    expect(page.get_by_label("What is broken?")).to_have_value("Search answers 503")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_escape_closes_a_menu_before_it_closes_the_modal(page: Page) -> None:
    page.get_by_label("Choose models").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    expect(page.get_by_role("dialog", name="Declare an incident")).to_be_visible()


def test_an_open_modal_comes_back_after_the_page_was_loaded_again(page: Page) -> None:
    page.reload()
    expect(page.get_by_role("dialog", name="Declare an incident")).to_be_visible()


def test_a_bot_that_does_not_answer_is_told_in_the_modal(page: Page, bot: Bot) -> None:
    bot.replies["declare"] = lambda _: {"response_action": "nonsense"}
    page.get_by_label("What is broken?").fill("x")
    page.get_by_role("radio", name="SEV1").check()
    page.get_by_role("button", name="Declare", exact=True).click()
    expect(page.locator(".modal-banner")).to_have_text("We had some trouble connecting. Try again?")
