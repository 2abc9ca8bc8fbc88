"""The catalogue of runbooks, and the page of one: what each costs, how it has done, what is wrong with it."""

import re
from html import unescape
from typing import Any

import pytest

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.people import BOT
from bot.incident.run import Risk, StepSpec
from bot.intake.alerts import Delivery, Message
from tests.web.site import JONAS, MAYA, Site
from tests.web.test_pages import EVIL, words

CACHE = """---
runbook: 1
id: serve-from-cache
title: Serve from cache while a model is down
owner: team-gateway
alerts: [ModelDown]
params: {model: {from: alert.labels.model_name, type: model_name}}
lock: model/{{ model }}
---
## Steps
### 1. Is it down?
```yaml step
id: down
do: promql.assert
with: {query: 'up{model="{{ model }}"}', expect: "== 0"}
```
### 2. Answer from cache
```yaml step
id: cache
do: flag.set
with: {target: gateway, flag: serve-from-cache, variant: "on"}
lease: 60m
verify: {query: 'cached{model="{{ model }}"}', expect: "> 0", within: 5m}
undo: auto
```
### 3. Take the node out
```yaml step
id: out
do: http.request
with: {endpoint: nobody-knows}
verify: {query: up, expect: "> 0", within: 5m}
undo: {none: the node is gone}
```
"""
CHECK = StepSpec("check", "Are errors up?", "promql.assert", {}, Risk.READ)


def opens(site: Site, incident: str, *, drill: bool = False) -> None:
    command = cmd.Declare(
        incident=incident,
        by=MAYA,
        at=site.now,
        key=f"open:{incident}",
        source="test",
        title="it fails",
        severity=Severity.SEV2,
    )
    site.journal.write(
        lambda txn: txn.append(
            command, ev.IncidentOpened(txn.next_number(), "it fails", Severity.SEV2, site.now, drill=drill), 1
        )
    ).result()


def runs(site: Site, incident: str, run: str, runbook: str = "rollback", *, well: bool | None = True) -> None:
    """A run by Jonas of three minutes; `well` None leaves it under way."""
    target = f"deploy/{incident}"
    common: dict[str, Any] = {"runbook": runbook, "title": runbook, "source_digest": "0" * 64, "target": target}
    site.do(cmd.StartRun, incident, by=JONAS, run=run, steps=(CHECK,), **common)
    site.after(minutes=3)
    if well is None:
        return
    if well:
        site.do(cmd.RecordReceipt, incident, BOT, events=(ev.StepSucceeded(run, "check", "0.31"),))
    else:
        site.do(cmd.StopRun, incident, by=JONAS, run=run)


def alert(name: str, severity: Severity = Severity.SEV2, runbook: str = "", **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "fingerprint": f"f-{name}",
        "firing": True,
        "name": name,
        "title": name,
        "severity": severity,
        "service": "chat",
        "model": "llama-70b",
        "runbook": runbook,
        "labels": {"alertname": name},
        "starts_at": changes.pop("at"),
        "ends_at": None,
    }
    return Delivery(**{**values, **changes})


def hears(site: Site, *deliveries: Delivery) -> None:
    site.desk.receive([Message("alertmanager", deliveries)]).result()


def book_of(page: str, title: str) -> str:
    """What the page says about one runbook, in words."""
    found = next(part for part in page.split("<article")[1:] if title in part)
    return unescape(words(f"<main><article{found.split('</article>')[0]}"))


def test_the_catalogue_says_what_each_would_cost_and_for_which_alerts(site: Site) -> None:
    (site.runbooks / "serve-from-cache.md").write_text(CACHE)
    site.open_pages()
    page = site.get("/runbooks")
    assert (
        "Roll back a model deploy team-inference rollback.md 3 steps: 1 only looks, 1 for a person, 1 can be undone"
        in (book_of(page, "Roll back a model deploy"))
    )
    told = book_of(page, "Serve from cache")
    assert "3 steps: 1 only looks, 1 can be undone, 1 cannot be taken back" in told
    assert "ModelDown Lint 2 faults Done no run has ended Last run none Rehearsed never" in told
    assert "2 faults: not offered" in told, "its targets are not configured"
    assert "Lint no fault" in book_of(page, "Roll back a model deploy")
    assert page.index("Roll back a model deploy") < page.index("Serve from cache")
    assert 'href="/runbooks/rollback"' in page


def test_how_a_runbook_has_done_is_counted_over_ninety_days(site: Site) -> None:
    opens(site, "old")
    runs(site, "old", "r0", well=False)
    site.after(days=91)
    opens(site, "i2")
    runs(site, "i2", "r1")
    runs(site, "i2", "r2", well=False)
    runs(site, "i2", "r3")
    site.after(days=3)
    opens(site, "i3")
    runs(site, "i3", "r4", well=None)
    site.after(hours=2)
    page = site.get("/runbooks")
    assert "Done 66 % 2 of 3 Last run INC-3 2 h 03 min ago Rehearsed never" in book_of(page, "Roll back")
    assert 'href="/incidents/INC-3"' in page
    assert "3 runs in 90 days, 66 % done" in words(page)


def test_a_rehearsal_says_when_it_was_and_counts_for_nothing_else(site: Site) -> None:
    opens(site, "real")
    runs(site, "real", "r1")
    site.after(days=20)
    opens(site, "drill", drill=True)
    runs(site, "drill", "r2", well=False)
    site.after(days=9)
    assert "Done 100 % 1 of 1 Last run INC-1 29 days ago Rehearsed INC-2 9 days ago" in (
        book_of(site.get("/runbooks"), "Roll back")
    )
    page = words(site.get("/runbooks/rollback"))
    assert re.search(r"INC-2 drill 2026-12-11 03:03 UTC Jonas Weber on deploy/drill took 3 min stopped", page)


def test_a_runbook_with_a_fault_is_shown_with_it_and_can_still_be_read(site: Site) -> None:
    text = (site.runbooks / "rollback.md").read_text()
    (site.runbooks / "rollback.md").write_text(text.replace("undo: auto\n", "").replace("id: check", "id: rollback"))
    (site.runbooks / "torn.md").write_bytes(b"\xff\xfe")
    site.open_pages()
    page = site.get("/runbooks")
    told = book_of(page, "Roll back")
    assert "2 faults: not offered to anybody until mended" in told
    assert "step 'rollback': a reversible step needs undo" in told
    assert "2 with faults" in words(page)
    assert "not UTF-8 at byte 0: save the file as UTF-8" in book_of(page, "torn.md")
    assert "2 faults" in words(site.get("/runbooks/rollback"))
    assert site.client.get("/runbooks/torn").status_code == 200


def test_a_faulty_runbook_takes_no_other_ones_name(site: Site) -> None:
    (site.runbooks / "a.md").write_text((site.runbooks / "rollback.md").read_text().replace("Roll back a", "Forge a"))
    site.open_pages()
    opens(site, "i1")
    runs(site, "i1", "r1")
    page = site.get("/runbooks")
    assert "Done 100 % 1 of 1" in book_of(page, "Roll back a model deploy")
    assert "no run has ended" in book_of(page, "Forge a model deploy")
    assert page.count('href="/runbooks/rollback"') == 1
    assert "Forge" not in site.get("/runbooks/rollback")


def test_one_runbook_tells_its_steps_their_proof_and_their_way_back(site: Site) -> None:
    (site.runbooks / "serve-from-cache.md").write_text(CACHE)
    site.open_pages()
    opens(site, "i1")
    runs(site, "i1", "r1", "serve-from-cache")
    page = words(site.get("/runbooks/serve-from-cache"))
    assert "1 Is it down? promql.assert only looks 2 Answer from cache flag.set Proof" in page
    assert "Way back puts back what was there Lent for 60 min, then it is undone unless renewed can be undone" in page
    assert "Way back none: the node is gone cannot be taken back" in page
    assert "INC-1 2026-11-21 03:00 UTC Jonas Weber on deploy/i1 took 3 min done" in page
    assert "id: serve-from-cache" not in page


def test_alerts_that_have_no_runbook_are_listed_the_most_frequent_first(site: Site) -> None:
    hears(site, alert("Forgotten", at=site.now))
    site.after(days=91)
    now = site.now
    hears(
        site,
        alert("ModelTTFTHigh", at=now),
        alert("Labelled", at=now, runbook="rollback"),
        alert("Elsewhere", at=now, runbook="scale-out"),
        alert("GpuXid79", Severity.SEV1, at=now),
    )
    site.after(minutes=10)
    hears(site, alert("GpuXid79", Severity.SEV1, at=now, firing=False, ends_at=site.now))
    site.after(minutes=10)
    hears(site, alert("GpuXid79", Severity.SEV1, at=site.now))
    site.after(hours=5)
    page = words(site.get("/runbooks")).partition("Alerts without a runbook")[2]
    assert "GpuXid79 fired 2 times, as 1 alert last 5 h 00 min ago SEV1 Elsewhere fired 1 time, as 1 alert" in page
    assert "asks for scale-out , which is not here" in page
    assert not re.search("Forgotten|ModelTTFTHigh|Labelled", page)


def test_where_every_alert_has_a_runbook_the_page_says_so(site: Site) -> None:
    hears(site, alert("ModelTTFTHigh", at=site.now))
    assert "None: every alert that was heard of has one." in words(site.get("/runbooks"))


def test_the_navigation_leads_there(site: Site) -> None:
    assert '<a href="/runbooks" aria-current="page">Runbooks</a>' in site.get("/runbooks")
    assert '<a href="/runbooks">Runbooks</a>' in site.get("/")


def test_nothing_that_a_file_an_alert_or_a_run_says_becomes_a_part_of_the_page(site: Site) -> None:
    hostile = (
        f"---\nrunbook: 1\nid: evil\ntitle: '{EVIL}'\nowner: '{EVIL}'\nalerts: ['{EVIL}']\n---\n{EVIL}\n## Steps\n"
        f"### 1. {EVIL}\n```yaml step\nid: a\ndo: http.request\nwith: {{endpoint: '{EVIL}'}}\n"
        f"verify: {{query: '{EVIL}', expect: '{EVIL}', within: 5m}}\nundo: {{none: '{EVIL}'}}\n```\n"
        "[click](javascript:alert(1))\n"
    )
    (site.runbooks / "evil.md").write_text(hostile)
    (site.runbooks / "<img src=x onerror=alert(1)>.md").write_text("no front matter")
    site.open_pages()
    hears(site, alert(EVIL, at=site.now, runbook=EVIL))
    opens(site, "i1")
    runs(site, "i1", "r1", "evil")
    site.do(
        cmd.StartRun, "i1", run="r2", runbook="evil", title=EVIL, source_digest="0" * 64, target=EVIL, steps=(CHECK,)
    )
    for path in ("/runbooks", "/runbooks/evil"):
        page = site.get(path)
        assert "<script>alert" not in page, path
        assert "<img" not in page.replace('<img src="/static/mark.svg"', ""), path
        assert 'href="javascript' not in page, path
        assert "49&quot;" not in page, path


@pytest.mark.parametrize("path", ["/runbooks", "/runbooks/rollback"])
def test_only_our_own_host_name_is_answered(site: Site, path: str) -> None:
    assert site.client.get(path, headers={"host": "evil.example.com"}).status_code == 421


def test_a_runbook_that_is_not_there_is_said(site: Site) -> None:
    answer = site.client.get("/runbooks/gone")
    assert answer.status_code == 404
    assert "There is no runbook of that name." in answer.text
    assert site.client.get("/runbooks/..%2f..%2fetc%2fpasswd").status_code == 404


def test_it_is_told_as_of_now_without_folding_an_incident(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opens(site, "i1")
    runs(site, "i1", "r1")
    monkeypatch.setattr("bot.journal.txn.Reader.incident", None)
    monkeypatch.setattr("bot.journal.txn.Reader.many", None)
    assert "1 of 1" in words(site.get("/runbooks"))
    site.after(days=2)
    assert "2 days ago" in words(site.get("/runbooks"))
