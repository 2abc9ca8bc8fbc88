"""Who gets an answer, and what a browser is told to allow."""

import pytest

from bot.web.guard import host_name
from tests.web.site import Site


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8081", "127.0.0.1", "localhost:9", "LOCALHOST", "[::1]:8081", "incidents.example.com"]
)
def test_our_own_names_are_answered(site: Site, host: str) -> None:
    assert site.client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8081", "[::2]", ""])
def test_a_foreign_name_that_points_here_reads_nothing(site: Site, host: str) -> None:
    site.alerts(1, new=1, title="a secret outage")
    for path in ("/", "/incidents/INC-1", "/metrics", "/static/pages.css"):
        answer = site.client.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert "secret" not in answer.text


@pytest.mark.parametrize(("header", "name"), [("[::1]:80", "::1"), ("A.b:1", "a.b"), ("", ""), ("[", "")])
def test_the_name_is_read_from_the_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("path", ["/", "/postmortems", "/nowhere", "/static/pages.css", "/metrics"])
def test_every_answer_carries_the_browsers_rules(site: Site, path: str) -> None:
    headers = site.client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_are_not_kept_and_static_files_are_asked_for_again(site: Site) -> None:
    assert site.client.get("/").headers["cache-control"] == "no-store"
    assert site.client.get("/static/pages.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_here(site: Site, method: str) -> None:
    for path in ("/", "/incidents/INC-1", "/postmortems", "/runbooks/rollback", "/metrics"):
        assert site.client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fpages.py"])
def test_static_files_stay_in_their_folder(site: Site, path: str) -> None:
    assert site.client.get(path).status_code == 404


def test_no_page_carries_style_or_script_of_its_own(site: Site) -> None:
    site.night()
    pages = ("/", "/incidents/INC-1", "/postmortems", f"/postmortems/{site.shelf.names()[0]}", "/runbooks/rollback")
    for page in map(site.get, pages):
        assert " style=" not in page
        assert "<style" not in page
        assert " onclick" not in page
        assert page.count("<script") == page.count('<script type="module" src="/static/')
