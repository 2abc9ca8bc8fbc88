"""What people and the bot write, as the page shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Event

from playwright.sync_api import expect

from .conftest import Bot, Desk
from .content import card, gallery


def test_a_card_shows_its_blocks_and_keeps_its_nodes_when_it_is_edited(desk: Desk) -> None:
    page = desk.open()
    ts = desk.post("SEV2", blocks=card(done=1))
    shown = page.locator(".channel .msg-bot")
    expect(shown.locator(".header")).to_have_text("SEV2  llama-70b answers with errors after a deploy")
    expect(shown.locator(".field-cell")).to_have_count(4)
    expect(shown.get_by_role("button", name="Acknowledge")).to_have_class(re.compile("btn-primary"))
    expect(shown.locator(".app-badge")).to_have_text("APP")
    desk.picture("card-light")
    page.evaluate("document.querySelector('.msg-bot .fields').kept = true")
    reply = desk.bench.workspace.api(
        "chat.update", {"channel": "C0INCIDENTS", "ts": ts, "text": "SEV2", "blocks": card(done=2)}
    )
    assert reply.body["ok"], reply.body
    expect(shown.get_by_role("button", name="Roll back to r40")).to_be_visible()
    assert page.evaluate("document.querySelector('.msg-bot .fields').kept") is True


def test_an_edit_above_does_not_move_what_is_being_read(desk: Desk) -> None:
    page = desk.open()
    ts = desk.post("first", blocks=card(done=1))
    for line in range(40):
        desk.post(f"line {line}")
    reader = page.locator(".channel .message-list")
    expect(page.get_by_text("line 39")).to_be_in_viewport()
    reader.evaluate("list => { list.scrollTop -= 300 }")
    before = page.get_by_text("line 20", exact=True).bounding_box()
    taller = [*card(done=2), {"type": "section", "block_id": "more", "text": {"type": "mrkdwn", "text": "a\nb\nc\nd"}}]
    desk.bench.workspace.api("chat.update", {"channel": "C0INCIDENTS", "ts": ts, "text": "first", "blocks": taller})
    expect(page.get_by_role("button", name="Roll back to r40")).to_be_attached()
    after = page.get_by_text("line 20", exact=True).bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 2


def test_every_other_block_is_drawn_and_its_menus_reach_the_bot(desk: Desk, bot: Bot) -> None:
    page = desk.open("C0INCIDENTS")
    desk.post("health", blocks=gallery())
    shown = page.locator(".channel .msg-bot")
    expect(shown.locator(".alert")).to_have_count(2)
    expect(shown.locator(".table")).to_have_count(2)
    expect(shown.locator(".rich .mention-me")).to_have_text("@Maya Okafor")
    expect(shown.locator(".unknown")).to_have_count(0)
    desk.picture("gallery-light")
    shown.get_by_label("Severity").click()
    page.get_by_role("option", name="SEV2").click()
    heard = bot.next()
    assert heard["actions"][0]["selected_option"]["value"] == "sev2"
    shown.get_by_label("Incident commander").click()
    page.get_by_label("Search Incident commander").press("ArrowDown")
    page.keyboard.press("Enter")
    heard = bot.next()
    assert heard["actions"][0]["selected_user"] == "U0JONAS"
    assert heard["state"]["values"]["g-actions"]["severity"]["selected_option"]["value"] == "sev2"


def test_a_button_is_busy_until_the_bot_has_answered(desk: Desk, bot: Bot, gate: Event) -> None:
    bot.replies["ack"] = lambda _: {} if gate.wait(20) else None
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    button = page.get_by_role("button", name="Acknowledge").first
    button.click()
    expect(button).to_have_attribute("aria-busy", "true")
    gate.set()
    expect(button).not_to_have_attribute("aria-busy", "true")
    assert bot.next()["actions"][0]["value"] == "ack"


def test_a_confirm_dialog_stands_before_the_bot(desk: Desk, bot: Bot) -> None:
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    page.locator(".channel").get_by_role("button", name="Resolve").click()
    dialog = page.get_by_role("dialog", name="Resolve while alerts still fire?")
    desk.picture("confirm-light")
    dialog.get_by_role("button", name="Not yet").click()
    expect(dialog).to_have_count(0)
    page.locator(".channel").get_by_role("button", name="Resolve").click()
    dialog.get_by_role("button", name="Resolve anyway").click()
    assert bot.next()["actions"][0]["action_id"] == "resolve"
    assert bot.heard.empty()


def test_the_overflow_menu_works_by_keyboard(desk: Desk, bot: Bot) -> None:
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    page.get_by_role("button", name="More actions").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert bot.next()["actions"][0]["selected_option"]["value"] == "note"
    expect(page.get_by_role("menu")).to_have_count(0)


def test_mrkdwn_becomes_what_it_means(desk: Desk) -> None:
    page = desk.open()
    desk.post(
        "*bold* _italic_ ~gone~ `code *x*` snake_case_name 2*3*4 :fire: 10:30:45\n"
        "<https://example.com/a|a link> <@U0MAYA> <#C0GENERAL> <!subteam^S0RESPOND> <!here>\n"
        "<!date^1700000000^{date_num}|then> &lt;b&gt;\n• one\n• two\n&gt; said\n```pre *x*```"
    )
    text = page.locator(".channel .msg-bot .mrkdwn")
    expect(text.locator("strong")).to_have_text("bold")
    expect(text.locator("em")).to_have_text("italic")
    expect(text.locator("s")).to_have_text("gone")
    expect(text.locator("code")).to_have_text("code *x*")
    expect(text.locator("pre")).to_have_text("pre *x*")
    expect(text.locator("blockquote")).to_have_text("said")
    expect(text.locator("li")).to_have_text(["one", "two"])
    expect(text.get_by_role("link", name="a link")).to_have_attribute("href", "https://example.com/a")
    expect(text.locator("img.emoji")).to_have_attribute("alt", "🔥")
    expect(text.locator(".mention")).to_have_text(["@Maya Okafor", "#general", "@inference-oncall", "@here"])
    expect(text.locator("time")).to_have_text(re.compile(r"2023-11-1[45]"))
    expect(text).to_contain_text("snake_case_name 2*3*4")
    expect(text).to_contain_text("10:30:45")
    expect(text).to_contain_text("<b>")


def test_hostile_text_stays_text(desk: Desk) -> None:
    page = desk.open()
    poison = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    desk.post(f"{poison} <javascript:window.hacked=1|click me> &lt;svg onload=window.hacked=1&gt;")
    desk.post(
        "x",
        blocks=[
            {"type": "header", "text": {"type": "plain_text", "text": poison}},
            {"type": "markdown", "text": f"{poison}\n\n[go](javascript:window.hacked=1) **<b onclick=x>b</b>**"},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{poison}*"}},
        ],
    )
    desk.bench.workspace.say("U0SAM", "C0INCIDENTS", poison)
    expect(page.locator(".channel .msg").last).to_contain_text("<img src=x onerror=window.hacked=1>")
    assert (
        page.locator(".channel .msg script, .channel .msg img[onerror], .channel .msg [href^=javascript]").count() == 0
    )
    assert page.evaluate("window.hacked") is None


def test_what_only_one_person_may_see_is_seen_by_that_person_only(new_desk: Callable[..., Desk], bot: Bot) -> None:
    bot.replies["/oncall"] = lambda _: {"text": "Maya is on call."}
    maya, jonas = new_desk(), new_desk()
    page, other = maya.open(), jonas.open(as_="U0JONAS")
    box = page.get_by_label("Message #incidents")
    box.fill("/oncall")
    box.press("Enter")
    whisper = page.locator(".msg-ephemeral")
    expect(whisper).to_contain_text("Only visible to you")
    expect(whisper).to_contain_text("Maya is on call.")
    maya.post("for all")
    expect(other.get_by_text("for all")).to_be_visible()
    expect(other.get_by_text("Maya is on call.")).to_have_count(0)


def test_a_failing_command_is_told_in_slacks_own_words(desk: Desk) -> None:
    page = desk.open()
    box = page.get_by_label("Message #incidents")
    box.fill("/oncall")
    box.press("Enter")
    expect(page.locator(".msg-ephemeral")).to_contain_text('/oncall failed with the error "dispatch_failed"')
    expect(page.locator(".msg-ephemeral .msg-name")).to_have_text("Slackbot")


def test_reactions_are_given_and_taken_away(new_desk: Callable[..., Desk]) -> None:
    maya, jonas = new_desk(), new_desk()
    page, other = maya.open(), jonas.open(as_="U0JONAS")
    maya.post("Deployed r41")
    row = page.locator(".channel .msg-bot")
    row.hover()
    row.get_by_role("button", name="React with pushpin").click()
    chip = page.get_by_role("button", name="pushpin, 1")
    expect(chip).to_have_attribute("aria-pressed", "true")
    seen = other.get_by_role("button", name="pushpin, 1")
    expect(seen).to_have_attribute("aria-pressed", "false")
    seen.click()
    expect(page.get_by_role("button", name="pushpin, 2")).to_be_visible()
    page.get_by_role("button", name="pushpin, 2").click()
    expect(page.get_by_role("button", name="pushpin, 1")).to_have_attribute("aria-pressed", "false")


def test_a_thread_opens_beside_the_channel(desk: Desk) -> None:
    page = desk.open()
    desk.post("SEV2", blocks=card(done=1))
    row = page.locator(".channel .msg-bot")
    row.hover()
    row.get_by_role("link", name="Reply in thread").click()
    thread = page.get_by_role("complementary", name="Thread")
    expect(thread.locator(".header")).to_be_visible()
    thread.get_by_label("Reply…").fill("Looking into it, @Jonas Weber")
    page.keyboard.press("Enter")
    expect(thread.locator(".msg", has_text="Looking into it").locator(".mention")).to_have_text("@Jonas Weber")
    expect(thread.locator(".thread-count")).to_have_text("1 reply")
    expect(page.locator(".channel .thread-foot")).to_contain_text("1 reply")
    expect(page.locator(".channel .msg", has_text="Looking into it")).to_have_count(0)
    desk.picture("thread-light")
    page.keyboard.press("Escape")
    expect(thread).to_be_hidden()


def test_an_edited_message_says_so(desk: Desk) -> None:
    page = desk.open()
    ts = desk.post("first")
    desk.bench.workspace.api("chat.update", {"channel": "C0INCIDENTS", "ts": ts, "text": "second"})
    expect(page.locator(".channel .msg-bot .mrkdwn")).to_have_text("second (edited)")
