"""Getting around: channels, people, the composer, the fleet panel, the connection."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import APIResponse, Route, expect

from .conftest import Bot, Desk
from .content import card


def test_commands_and_their_words_complete_by_keyboard(desk: Desk, bot: Bot) -> None:
    page = desk.open()
    box = page.get_by_label("Message #incidents")
    box.press_sequentially("/")
    options = page.get_by_role("option")
    expect(options).to_have_text([re.compile("^/incident"), re.compile("^/oncall")])
    box.press("Tab")
    expect(box).to_have_value("/incident ")
    expect(options.first).to_have_text("help")
    expect(options.nth(1)).to_contain_text("<title>")
    desk.picture("completion-light")
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("ArrowUp")
    box.press("Enter")
    expect(box).to_have_value("/incident declare ")
    expect(options).to_have_count(0)
    box.fill("")
    box.press_sequentially("/incident s")
    expect(options).to_have_text([re.compile("^sev")])
    box.press("Escape")
    expect(options).to_have_count(0)
    box.press_sequentially("ev 2 @Jonas Weber & co")
    box.press("Enter")
    heard = bot.next()
    assert heard["command"] == "/incident"
    assert heard["text"] == "sev 2 <@U0JONAS|jonas> &amp; co"
    expect(box).to_have_value("")


def test_a_command_word_typed_in_full_is_sent_by_one_enter(desk: Desk, bot: Bot) -> None:
    page = desk.open()
    box = page.get_by_label("Message #incidents")
    box.press_sequentially("/incident ack")
    expect(page.get_by_role("option")).to_have_count(1)
    box.press("Enter")
    assert bot.next()["text"] == "ack"


def test_names_complete_and_become_mentions(desk: Desk) -> None:
    page = desk.open()
    box = page.get_by_label("Message #incidents")
    box.press_sequentially("Ask @pri")
    box.press("Tab")
    box.press_sequentially("and #inf")
    box.press("Enter")
    box.press("Enter")
    expect(page.locator(".channel .msg .mention")).to_have_text(["@Priya Raman", "#inference"])
    assert desk.bench.workspace.channel("incidents").messages[-1].text == "Ask <@U0PRIYA> and <#C0INFERENCE|inference>"


def test_unread_and_mentions_are_counted_until_they_are_read(desk: Desk) -> None:
    page = desk.open("C0GENERAL")
    desk.post("SEV2 for <@U0MAYA>")
    row = page.get_by_role("link", name="incidents")
    expect(row.locator(".badge-mention")).to_have_text("1")
    expect(page).to_have_title(re.compile(r"^\(1\) #general"))
    row.click()
    expect(page.locator(".channel-title")).to_have_text("incidents")
    expect(page.locator(".day-new")).to_be_visible()
    expect(row.locator(".badge")).to_have_count(0)
    page.get_by_role("link", name="general").click()
    expect(row.locator(".badge")).to_have_count(0)


def test_a_new_incident_channel_appears_on_top(desk: Desk) -> None:
    page = desk.open()
    for name in ("inc-1-old", "inc-2-new"):
        created = desk.bench.workspace.api("conversations.create", {"name": name}).body["channel"]["id"]
        desk.bench.workspace.api("conversations.invite", {"channel": created, "users": "U0MAYA"})
        desk.post("here", channel=created)
    rows = page.locator(".channel-section").first.locator(".channel-name")
    expect(rows).to_have_text(["inc-2-new", "inc-1-old"])


def test_another_person_is_one_click_away_and_in_the_address(desk: Desk) -> None:
    page = desk.open()
    page.get_by_role("radio", name=re.compile("Act as Sam Lee")).click()
    expect(page.locator(".who-name")).to_have_text("Sam Lee")
    expect(page).to_have_url(re.compile(r"#/C0INCIDENTS\?as=U0SAM$"))
    page.keyboard.press("ArrowRight")
    expect(page.locator(".who-name")).to_have_text("Gus Guest")
    box = page.get_by_label("Message #incidents")
    box.fill("hello")
    box.press("Enter")
    expect(page.locator(".channel .msg .msg-name")).to_have_text("Gus Guest")
    page.go_back()
    expect(page.locator(".who-name")).to_have_text("Sam Lee")


def test_what_was_missed_while_the_stream_was_down_is_there_afterwards(desk: Desk) -> None:
    page = desk.open()
    desk.post("before")
    expect(page.get_by_text("before")).to_be_visible()
    desk.bench.workspace.state.hub.close()
    desk.post("meanwhile")
    expect(page.get_by_text("meanwhile")).to_be_visible()
    desk.post("after")
    expect(page.get_by_text("after")).to_be_visible()


def test_what_is_told_while_the_state_is_on_its_way_is_not_overwritten_by_it(desk: Desk) -> None:
    here = desk.bench.workspace.api("conversations.create", {"name": "inc-1-here"}).body["channel"]["id"]
    desk.bench.workspace.api("conversations.invite", {"channel": here, "users": "U0MAYA"})
    page = desk.open(here)
    desk.post("is there", channel=here)
    expect(page.get_by_text("is there")).to_be_visible()
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/ui/state*", lambda route: held.append((route, route.fetch())))
    desk.bench.workspace.state.hub.close()
    while not held:
        page.wait_for_timeout(10)
    desk.post("SEV2 for <@U0MAYA>")
    desk.post("told since", channel=here)
    expect(page.get_by_text("told since")).to_be_visible()
    for route, answer in held:
        route.fulfill(response=answer)
    expect(page.get_by_role("link", name="incidents").locator(".badge-mention")).to_have_text("1")


def test_a_permalink_leads_to_its_message(desk: Desk) -> None:
    page = desk.open()
    ts = desk.post("the one")
    for line in range(40):
        desk.post(f"line {line}")
    link = desk.bench.workspace.api("chat.getPermalink", {"channel": "C0INCIDENTS", "message_ts": ts}).body["permalink"]
    desk.post(f"See <{link}|there>")
    expect(page.get_by_text("the one")).not_to_be_in_viewport()
    page.get_by_role("link", name="there").click()
    expect(page.get_by_text("the one")).to_be_in_viewport()


def test_faults_are_switched_and_seen_in_the_fleet_panel(desk: Desk) -> None:
    page = desk.open()
    fleet = page.get_by_role("complementary", name="Fleet")
    switch = fleet.get_by_role("switch", name="GPU off the bus")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(fleet.locator(".gpu[data-state=lost]")).to_have_attribute(
        "aria-label", re.compile("node-2/gpu1 · lost · Xid 79")
    )
    expect(fleet.locator("[data-model=llama-70b]")).to_have_attribute("data-state", re.compile("degraded|ok"))
    expect(page.locator(".step-done")).to_have_count(1)
    switch.click()
    expect(fleet.locator(".gpu[data-state=lost]")).to_have_count(0)
    fleet.get_by_role("button", name="Hide the fleet panel").click()
    expect(fleet).to_be_hidden()
    page.get_by_role("button", name="Fleet panel").click()
    expect(fleet).to_be_visible()


def test_the_first_steps_can_be_dismissed_and_called_back(desk: Desk) -> None:
    page = desk.open()
    steps = page.get_by_role("region", name="First steps")
    expect(steps.locator(".step")).to_have_count(6)
    steps.get_by_role("button", name="Dismiss the first steps").click()
    expect(steps).to_be_hidden()
    page.reload()
    expect(steps).to_be_hidden()
    page.get_by_role("button", name="Show the first steps").click()
    expect(steps).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_system_theme_is_followed_until_another_is_chosen(new_desk: Callable[..., Desk], theme: str) -> None:
    desk = new_desk(color_scheme=theme)
    page = desk.open()
    desk.bench.workspace.say("U0JONAS", "incidents", "Anyone else seeing slow first tokens? :eyes:")
    desk.post("SEV2", blocks=card(done=2))
    expect(page.get_by_role("button", name="Roll back to r40")).to_be_visible()
    desk.picture(f"workspace-{theme}")
    dark = "getComputedStyle(document.documentElement).colorScheme"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    other = "dark" if theme == "light" else "light"
    page.get_by_role("button", name=f"Switch to the {other} theme").click()
    assert page.evaluate(dark) == other
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    assert page.evaluate(dark) == other


@pytest.mark.parametrize("width", [800, 1100, 1920])
def test_nothing_is_cut_off_at_any_width(new_desk: Callable[..., Desk], width: int) -> None:
    desk = new_desk(width=width)
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    expect(page.get_by_role("button", name="Acknowledge")).to_be_in_viewport()
    expect(page.get_by_label("Message #incidents")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    panel = page.locator(".fleet-scroll")
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    desk.picture(f"width-{width}")


def test_a_page_is_acknowledged_as_the_person_one_is(desk: Desk) -> None:
    bench = desk.bench
    event = {
        "routing_key": bench.secrets.pagerduty_routing_key,
        "event_action": "trigger",
        "dedup_key": "T0FIXFIRST:1:1",
        "payload": {"summary": "SEV2 llama-70b", "source": "fixfirst", "severity": "critical"},
    }
    answer = httpx2.post(f"{bench.ports.url('pagerduty')}/v2/enqueue", json=event)
    assert answer.status_code == 202, answer.text
    page = desk.open(as_="U0JONAS")
    shown = page.locator(".page[data-status=triggered]")
    expect(shown.locator(".page-title")).to_have_text("SEV2 llama-70b")
    shown.get_by_role("button", name="Acknowledge").click()
    shown = page.locator(".page[data-status=acknowledged]")
    shown.locator("summary").click()
    expect(shown.locator(".page-log li").last).to_contain_text("Jonas Weber")
    desk.picture("fleet-light")
    shown.get_by_role("button", name="Resolve").click()
    expect(page.locator(".page[data-status=resolved]")).to_be_visible()
