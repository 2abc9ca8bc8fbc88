"""What people find on the pages."""

import os
import re
import shutil
from pathlib import Path

import pytest

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.journal.archive import move_old
from tests.web.site import Site

EVIL = '<img src=x onerror=alert(1)>{{ 7 * 7 }}"><script>alert(2)</script>'


def words(html: str) -> str:
    """The text of a page, as a screen reader would go through it."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2]).split())


def test_a_quiet_board_says_so(site: Site) -> None:
    assert "All quiet No incident is open" in words(site.get("/"))


@pytest.mark.parametrize("path", ["/", "/incidents/INC-1", "/runbooks"])
def test_a_page_that_needs_the_journal_says_that_it_cannot_be_read_and_when_to_come_again(
    site: Site, path: str
) -> None:
    site.journal.close()
    shutil.rmtree(site.folder)
    answer = site.client.get(path)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    said = "The journal cannot be read right now Its database does not answer. Try again in 5 seconds"
    assert said in words(answer.text)


def test_the_board_shows_the_worst_live_incident_first(site: Site) -> None:
    site.alerts(1, new=1, title="chat is down", severity=Severity.SEV1, incident="i1")
    site.after(minutes=1).alerts(1, new=1, title="disk fills", severity=Severity.SEV3, incident="i2")
    page = words(site.get("/"))
    assert page.index("chat is down") < page.index("disk fills")


def test_the_board_tells_how_long_how_many_and_what_to_do(site: Site) -> None:
    site.alerts(14, resolved=3, new=17)
    site.after(minutes=12)
    page = words(site.get("/"))
    assert "SEV1 INC-1 Open for 12 min" in page
    assert "14 firing, 3 recovered" in page
    assert "Acknowledge now Triage to do" in page
    assert "Acknowledge Escalates at 03:05:00 UTC." in page


def test_an_incident_that_is_over_moves_down_and_links_its_postmortem(site: Site) -> None:
    site.night()
    page = site.get("/")
    assert "All quiet" in page
    assert 'href="/postmortems/2026-11-21-inc-1-llama-70b-answers-with-errors.md"' in page


def test_an_incident_page_shows_who_did_which_of_the_six_steps(site: Site) -> None:
    site.night()
    page = words(site.get("/incidents/INC-1"))
    assert re.search(r"Acknowledge Maya Okafor, 03:\d\d:\d\d UTC Triage", page)
    assert "Resolve Maya Okafor" in page
    assert "r40 holds, errors are below 1 in 500." in page


def test_an_incident_page_shows_numbers_runs_and_the_timeline(site: Site) -> None:
    site.night()
    page = words(site.get("/incidents/INC-1"))
    assert "OUTAGE 31% of requests to llama-70b fail" in page
    assert "Users&#39; errors critical 31.0% of requests fail llama-70b" in page
    assert "3 more checks without a finding" in page
    assert "Approved by Maya Okafor" in page
    assert "0.002, expected &lt; 0.01, held for 15 s" in page
    assert "Way back back to r41" in page
    assert "ack" in page
    assert "Maya Okafor acknowledged" in page
    assert "+2 more" in page


def test_a_number_or_an_id_leads_to_the_incident(site: Site) -> None:
    site.alerts(1, new=1)
    for ref in ("1", "inc-1", "i1"):
        answer = site.client.get(f"/incidents/{ref}")
        assert (answer.status_code, answer.headers["location"]) == (307, "/incidents/INC-1")


NOWHERE = ("/postmortems/nothing", "/runbooks/nothing", "/elsewhere")
NOBODY = (
    "INC-9",
    "INC-99999999999999999999999",
    "2147483648",
    "%ff",
    "a%00b",
    "INC-99999999999999999999999/evidence/x",
)


@pytest.mark.parametrize("path", [*NOWHERE, *(f"/incidents/{name}" for name in NOBODY)])
def test_what_is_not_there_has_a_page_that_leads_back(site: Site, path: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code == 404
    assert "See the incidents." in answer.text


def test_an_archived_incident_has_a_page_that_says_where_it_went(site: Site, tmp_path: Path) -> None:
    site.alerts(1, new=1)
    site.do(cmd.Cancel, reason="a drill")
    site.nothing_waits()
    site.after(days=40)
    list(move_old(site.journal, tmp_path, site.now))
    for ref in ("INC-1", "1", "i1"):
        answer = site.client.get(f"/incidents/{ref}")
        assert answer.status_code == 410
        assert "was archived on" in answer.text
        assert "2026/INC-1.jsonl.gz" in answer.text
    assert "INC-1" not in site.get("/")


def test_an_incident_called_off_does_not_claim_a_mitigation(site: Site) -> None:
    site.alerts(1, new=1)
    site.after(minutes=1).do(cmd.Cancel, reason="a test alert")
    page = words(site.get("/incidents/INC-1"))
    assert "Called off Maya Okafor" in page
    assert "Mitigate not recorded" in page
    assert "not known" in page


def test_what_could_not_be_delivered_is_said_loudly(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.DeliveryFailed("pager", "escalate_page", "401 Unauthorized"))
    assert "Not delivered: escalate page by pager. 401 Unauthorized" in words(site.get("/incidents/INC-1"))


def test_a_trouble_that_repeats_is_said_once_with_its_count(site: Site) -> None:
    site.alerts(1, new=1)
    for _ in range(3):
        site.receipt(ev.DeliveryFailed("pager", "page", "401 Unauthorized"))
    page = words(site.get("/incidents/INC-1"))
    assert page.count("Not delivered") == 1
    assert "Not delivered (3 times): page by pager. 401 Unauthorized" in page


def test_an_incident_that_recurs_leads_to_the_earlier_one(site: Site) -> None:
    site.night()
    site.after(hours=5).alerts(1, new=1, incident="i2", recurs="i1")
    assert 'href="/incidents/INC-1"' in site.get("/incidents/INC-2")


def test_redacted_evidence_keeps_its_headline(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.EvidenceCollected("DEGRADED", "[redacted]", "[redacted]", "", {}))
    assert "DEGRADED [redacted]" in words(site.get("/incidents/INC-1"))


def test_live_pages_refresh_themselves_and_finished_ones_do_not(site: Site) -> None:
    site.alerts(1, new=1)
    assert '<main id="main" data-refresh>' in site.get("/")
    assert '<main id="main" data-refresh>' in site.get("/incidents/INC-1")
    site.do(cmd.Cancel, reason="no")
    assert "data-refresh" not in site.get("/incidents/INC-1")


def test_a_postmortem_is_shown_with_its_key_times_and_without_its_markers(site: Site) -> None:
    site.night()
    page = site.get("/postmortems/2026-11-21-inc-1-llama-70b-answers-with-errors")
    assert "gen:" not in page
    told = words(page)
    assert "TTA time to acknowledge 2 min" in told
    assert "What was hard" in told
    assert '<a href="#timeline">Timeline</a>' in page


def test_a_postmortem_can_be_saved_as_it_lies_on_disk(site: Site) -> None:
    site.night()
    name = site.shelf.names()[0]
    answer = site.client.get(f"/postmortems/{name}/source")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.text == site.shelf.read(name)


def test_the_list_of_postmortems_names_incidents_that_the_journal_has_lost(site: Site) -> None:
    site.night()
    (site.shelf.root / "2025-01-02-inc-77-an-old-story.md").write_text("# INC-77\n")
    page = words(site.get("/postmortems"))
    assert "an old story INC-77 2025-01-02" in page
    assert "llama-70b answers with errors INC-1" in page


def test_without_a_postmortem_the_list_says_how_one_comes_about(site: Site) -> None:
    assert "Nothing written yet" in site.get("/postmortems")


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "%2e%2e%2fsecret.md", "2026-11-21-inc-1-..%2f..%2fsecret.md", "secret.md"]
)
def test_no_name_leads_out_of_the_folder(site: Site, name: str) -> None:
    site.night()
    (site.folder / "secret.md").write_text("hidden words")
    (site.shelf.root / "secret.md").write_text("hidden words")
    answer = site.client.get(f"/postmortems/{name}")
    assert answer.status_code == 404
    assert "hidden words" not in answer.text


def test_a_link_in_the_folder_is_not_followed(site: Site) -> None:
    site.night()
    (site.folder / "secret.md").write_text("hidden words")
    os.symlink(site.folder / "secret.md", site.shelf.root / "2026-11-21-inc-2-link.md")
    answer = site.client.get("/postmortems/2026-11-21-inc-2-link.md")
    assert answer.status_code == 500
    assert "cannot be read" in answer.text
    assert "hidden words" not in answer.text


def test_runbooks_can_be_read(site: Site) -> None:
    assert "Roll back a model deploy" in site.get("/runbooks")
    page = site.get("/runbooks/rollback")
    assert '<blockquote class="warning">' in page
    assert "id: rollback\ntitle:" not in page
    assert "What good looks like" in page


def test_free_text_stays_text_on_every_page(site: Site) -> None:
    site.alerts(1, new=1, title=EVIL, service=EVIL, model=EVIL)
    site.do(cmd.Acknowledge)
    site.do(cmd.StateImpact, text=EVIL)
    site.do(cmd.AddNote, text=EVIL)
    site.do(cmd.PinMessage, text=EVIL, author="U1", link='javascript:alert(1)//"onmouseover=alert(2)')
    site.receipt(evidence_of(EVIL), ev.DeliveryFailed("pager", EVIL, EVIL))
    site.do(cmd.Resolve, reason=EVIL, despite_firing=True)
    name = site.draft()
    for path in ("/", "/incidents/INC-1", "/postmortems", f"/postmortems/{name}"):
        page = site.get(path)
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "javascript:" not in re.sub(r">[^<]*<", "><", page), path
        assert "49&quot;" not in page, path


def evidence_of(text: str) -> ev.EvidenceCollected:
    check = {"title": text, "status": "crit", "text": text, "offender": text}
    return ev.EvidenceCollected("OUTAGE", text, text, "", {"checks": [check], "unknowns": [text]})
