"""The evidence on its page, as a picture and as JSON; and how right the verdicts have been."""

from dataclasses import replace

import pytest

from bot.health.chart import draw
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.people import BOT
from bot.journal.evidence import Part, keep
from bot.journal.redaction import clear_text
from tests.health.test_chart import picture, recording
from tests.web.site import JONAS, Site, evidence
from tests.web.test_pages import EVIL

ID = "EV-7F3K2QAB"
SERIES = Part("errors", "series", 'sum(rate(http_requests_total{status=~"5.."}[5m]))', b'{"name":"errors","series":[]}')


def png() -> bytes:
    return draw(picture(recording(), "[OUTAGE] llama-70b: 31.0% of requests fail"))


def looked(site: Site, evidence_id: str = ID, *, drawn: bytes = b"\x89PNG", **changes: str) -> None:
    """The telemetry was asked, and what it showed is kept."""
    parts = (SERIES, Part("picture", "picture", "", drawn))
    site.journal.write(lambda txn: keep(txn.direct, txn.workspace, "i1", evidence_id, parts, now=txn.now)).result()
    said = evidence(**changes)
    said = replace(said, evidence=evidence_id, report={**said.report, "cause_id": "recent-change"})
    frozen = ev.EvidenceFrozen(
        evidence_id, {part.name: part.sha256 for part in parts}, 181, site.now, "ready: no metric"
    )
    site.do(cmd.RecordReceipt, by=BOT, events=(said, frozen), source="courier")


@pytest.fixture
def burning(site: Site) -> Site:
    site.alerts(3, new=3)
    looked(site)
    return site


def test_the_incidents_page_shows_the_picture_and_leads_to_all_of_it(burning: Site) -> None:
    text = burning.get("/incidents/INC-1")
    assert f'<img src="/incidents/INC-1/evidence/{ID}.png"' in text
    assert f'href="/incidents/INC-1/evidence/{ID}"' in text
    answer = burning.client.get(f"/incidents/INC-1/evidence/{ID}.png")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", b"\x89PNG")


def test_the_evidences_page_holds_what_was_asked_and_what_was_kept(burning: Site) -> None:
    text = burning.get(f"/incidents/INC-1/evidence/{ID}")
    assert "31% of requests to llama-70b fail" in text
    assert "http_requests_total" in text
    assert "Not kept: ready: no metric" in text
    assert SERIES.sha256[:16] in text


def test_a_picture_is_asked_for_again_each_time_and_sent_only_when_it_is_another(burning: Site) -> None:
    url = f"/incidents/INC-1/evidence/{ID}.png"
    answer = burning.client.get(url)
    assert answer.headers["cache-control"] == "private, no-cache", "a redacted one is nowhere shown from a cache"
    known = {"If-None-Match": answer.headers["etag"]}
    again = burning.client.get(url, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    (number,) = [one.seq for one in burning.journal.entries("i1") if isinstance(one.event, ev.EvidenceFrozen)]
    burning.journal.write(lambda txn: clear_text(txn, "i1", number)).result()
    assert burning.client.get(url, headers=known).status_code == 404


def test_a_program_gets_the_same_as_json(burning: Site) -> None:
    data = burning.client.get(f"/incidents/INC-1/evidence/{ID}.json").json()
    assert (data["id"], data["incident"]) == (ID, "INC-1")
    assert data["series"] == [{"name": "errors", "series": []}]
    assert data["report"]["cause_id"] == "recent-change"


@pytest.mark.parametrize("suffix", ["", ".png", ".json"])
@pytest.mark.parametrize("where", ["INC-1/evidence/EV-NOTHERE", "INC-9/evidence/" + ID, "INC-1/evidence/" + EVIL])
def test_what_is_not_there_is_not_there(burning: Site, where: str, suffix: str) -> None:
    assert burning.client.get(f"/incidents/{where}{suffix}").status_code == 404


def test_what_was_redacted_has_a_page_that_says_so(burning: Site) -> None:
    entries = burning.journal.entries("i1")
    number = next(entry.seq for entry in entries if isinstance(entry.event, ev.EvidenceCollected))
    burning.journal.write(lambda txn: clear_text(txn, "i1", number)).result()
    assert burning.client.get(f"/incidents/INC-1/evidence/{ID}.png").status_code == 404
    text = burning.get(f"/incidents/INC-1/evidence/{ID}")
    assert "The details were taken out." in text
    assert "31% of requests" not in text


def test_hits_and_misses_are_counted_by_cause(burning: Site) -> None:
    looked(burning, "EV-AAAAAAAA")
    burning.do(cmd.RateVerdict, evidence=ID, right=True)
    burning.do(cmd.RateVerdict, evidence="EV-AAAAAAAA", right=True)
    text = f"{EVIL} a customer's flood"
    burning.do(cmd.RateVerdict, by=JONAS, evidence="EV-AAAAAAAA", right=False, actual="outside", text=text)
    page = burning.get("/verdicts")
    assert "2 of 3 rated were right (67 %)" in page
    assert "was something outside the fleet" in page
    assert "customer&#39;s flood" in page
    assert "<script>alert" not in page
    assert "Ratings of archived incidents are in their archives" in page


def test_without_ratings_the_page_says_where_they_come_from(site: Site) -> None:
    assert "No verdict has been rated yet" in site.get("/verdicts")
