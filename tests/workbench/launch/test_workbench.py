"""The workbench as one program: its addresses, the panel, the files for the bot, and how it starts and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.workbench.__main__ import main, welcome
from bot.workbench.children import Child, StartFailed
from bot.workbench.fleet import FAULTS, Fleet
from bot.workbench.launch import Options, Workbench
from bot.workbench.monitoring import Monitoring, MonitoringConfig
from bot.workbench.pagerduty import PagerDuty, PagerDutyConfig
from bot.workbench.panel import BotView, Panel
from bot.workbench.server import PortTaken, bind
from bot.workbench.settings import Ports, Secrets, bot_config
from bot.workbench.slack.deliver import http_post

ANY = Ports(page=0, pagerduty=0, fleet=0, prometheus=0, alertmanager=0, doors=0, pages=0)
Ask = Callable[..., tuple[int, Any]]
Eventually = Callable[[Callable[[], object], float], None]


def test_page_slack_pagerduty_and_fleet_answer_on_their_ports(bench: Workbench, ask: Ask) -> None:
    status, page = ask("GET", f"{bench.ports.url('page')}/")
    assert (status, "<!doctype html>" in page) == (200, True)
    token = {"authorization": f"Bearer {bench.secrets.slack_bot_token}"}
    assert ask("POST", f"{bench.ports.url('page')}/api/auth.test", headers=token)[1]["ok"] is True
    pager = {"authorization": f"Token token={bench.secrets.pagerduty_api_token}"}
    assert ask("GET", f"{bench.ports.url('pagerduty')}/oncalls", headers=pager)[0] == 200
    assert "vllm:num_requests_running" in ask("GET", f"{bench.ports.url('fleet')}/metrics")[1]


def test_a_fault_is_switched_in_the_panel(bench: Workbench, ask: Ask) -> None:
    page = bench.ports.url("page")
    status, panel = ask("POST", f"{page}/ui/faults/bad-deploy", {"on": True})
    assert status == 200
    assert [fault["id"] for fault in panel["faults"] if fault["on"]] == ["bad-deploy"]
    assert panel["models"][0]["revision"] == "r42"
    assert bench.fleet.model("llama-70b")["revision"] == "r42"


def test_the_panel_can_take_pagerduty_away(bench: Workbench, ask: Ask) -> None:
    page = bench.ports.url("page")
    _, panel = ask("POST", f"{page}/ui/faults/pagerduty-down", {"on": True})
    assert {service["name"]: service["state"] for service in panel["services"]}["PagerDuty"] == "down"
    ask("POST", f"{page}/ui/faults/pagerduty-down", {"on": False})
    assert bench.pagerduty.outage == "none"


def test_a_person_acts_on_a_page_in_the_panel(bench: Workbench, ask: Ask) -> None:
    incident = bench.pagerduty.trigger("k1", {"summary": "Queue grows", "severity": "critical"})
    page = bench.ports.url("page")
    status, panel = ask("POST", f"{page}/ui/pages/{incident.id}/acknowledge", {"user": "U0JONAS"})
    assert (status, panel["pages"][0]["status"]) == (200, "acknowledged")
    assert panel["pages"][0]["log"][-1]["what"] == "Acknowledged by Jonas Weber."
    assert ask("POST", f"{page}/ui/pages/{incident.id}/acknowledge", {"user": "U0JONAS"})[0] == 400
    assert ask("POST", f"{page}/ui/pages/QNONE/resolve", {"user": "U0JONAS"})[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/ui/faults/fire", {"on": True}, 404),
        ("/ui/faults/drift", {"on": "yes"}, 422),
        ("/ui/faults/drift", None, 400),
        ("/ui/faults/drift", [], 400),
        ("/ui/pages/Q1/acknowledge", {}, 422),
    ],
)
def test_the_panel_names_what_is_wrong(bench: Workbench, ask: Ask, path: str, body: object, status: int) -> None:
    found, answer = ask("POST", bench.ports.url("page") + path, body)
    assert (found, answer["ok"]) == (status, False)
    assert answer["error"]


def test_every_fault_says_what_it_breaks_which_alert_it_raises_and_the_runbook_for_it(
    bench: Workbench, ask: Ask
) -> None:
    page = bench.ports.url("page")
    status, found = ask("GET", f"{page}/ui/faults")
    assert status == 200
    *fleet, pagerduty = found["faults"]
    assert [fault["id"] for fault in fleet] == [fault.id for fault in FAULTS]
    assert all(fault["runbook"] and fault["alert"] and fault["description"] for fault in fleet)
    assert (pagerduty["id"], pagerduty["on"]) == ("pagerduty-down", False)
    _, panel = ask("POST", f"{page}/ui/faults/telemetry-blind", {"on": True})
    assert [fault["id"] for fault in panel["faults"] if fault["on"]] == ["telemetry-blind"]


@pytest.mark.parametrize("header", [{"origin": "http://evil.example"}, {"host": "evil.example"}])
def test_another_site_can_press_nothing(bench: Workbench, ask: Ask, header: dict[str, str]) -> None:
    status, _ = ask("POST", f"{bench.ports.url('page')}/ui/faults/drift", {"on": True}, header)
    assert status == 403
    assert not any(fault["on"] for fault in bench.fleet.faults())


def test_an_open_page_hears_of_the_panel(bench: Workbench) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", bench.ports.page, timeout=5)
    connection.request("GET", "/ui/stream?user=U0MAYA")
    answer = connection.getresponse()
    bench.panel.set_fault("bad-deploy", True)
    for raw in answer:
        event = json.loads(raw.removeprefix(b"data: ")) if raw.startswith(b"data: ") else {}
        if event.get("type") == "panel" and event["models"][0]["revision"] == "r42":
            break
    answer.close()
    connection.close()


def test_the_panel_is_published_when_it_changed_and_at_most_once_a_second() -> None:
    published: list[dict[str, Any]] = []
    pagerduty = PagerDuty(PagerDutyConfig("r" * 32, "token"), lambda: 1e9, http_post)
    bot = BotView("http://127.0.0.1:1", "http://127.0.0.1:2", "up")
    panel = Panel(Fleet(lambda: 1e9), pagerduty, lambda: [], lambda: bot, published.append)
    panel.tick(10.0)
    panel.tick(12.0)
    assert len(published) == 1
    panel.set_fault("pagerduty-down", True)
    panel.tick(12.1)
    panel.set_fault("pagerduty-down", False)
    panel.tick(12.9)
    assert [event["faults"][-1]["on"] for event in published] == [False, True]
    panel.tick(13.2)
    assert published[-1]["faults"][-1]["on"] is False


def test_the_bot_gets_a_configuration_it_can_parse(tmp_path: Path) -> None:
    config = tomllib.loads(bot_config(tmp_path / 'a "quoted" \\ directory', Ports()))
    assert config["data_dir"].endswith('a "quoted" \\ directory/data')
    assert config["slack"]["api_url"] == "http://127.0.0.1:8066/api/"
    (rota,) = config["oncall"]["rota"]
    assert rota["users"][0] == "U0MAYA", "whoever tries it is on call"
    assert config["pagerduty"]["users"]["U0JONAS"] == "PJONAS1"
    deploy = config["endpoints"]["model-deploy"]
    assert deploy["json"] == {"revision": "{before.previous}"}
    assert deploy["observe"]["done"] == {"revision": "{before.previous}"}
    assert deploy["undo"]["json"] == {"revision": "{before.revision}"}
    assert config["endpoints"]["cache-fallback"]["undo"]["json"] == {"mode": "{before.fallback}"}


def test_the_configuration_holds_no_secret_and_the_files_that_do_are_private(bench: Workbench) -> None:
    secret = bench.secrets.slack_signing_secret
    assert secret not in bench.bot_config.read_text()
    holding = [path for path in bench.directory.rglob("*") if path.is_file() and secret in path.read_text()]
    assert {path.name for path in holding} == {"bot.env", "secrets.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_a_directory_keeps_its_secrets(tmp_path: Path) -> None:
    first = Secrets.kept_in(tmp_path)
    assert Secrets.kept_in(tmp_path) == first
    assert Secrets.new() != first
    assert len(first.pagerduty_routing_key) == 32


def test_a_taken_port_is_told_in_one_sentence_with_the_option(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bind(0, "--port") as taken:
        port = taken.getsockname()[1]
        assert main(["--no-bot", "--manifest", str(manifest), "--fleet-port", str(port), *_free("--fleet-port")]) == 1
    assert capsys.readouterr().err == (
        f"Port {port} is in use: choose another with --fleet-port PORT (0 takes any free one).\n"
    )


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-bot", "--manifest", str(tmp_path / "none.yaml"), *_free()]) == 1
    assert "none.yaml" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(bench: Workbench) -> None:
    config = MonitoringConfig(bench.directory / "m", "127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1/", "t")
    bench.monitoring = Monitoring(config, find=lambda _: None)
    bench.monitoring.start()
    states = {service.name: service for service in bench.services()}
    assert states["Prometheus"].state == "missing"
    assert "apt-get install" in (states["Prometheus"].hint or "")
    text = welcome(bench, colour=False)
    assert "Without prometheus and prometheus-alertmanager no fault becomes an alert." in text
    assert bench.ports.url("page") in text


def test_a_child_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no such table')"]
    child = Child("The bot", argv, log=tmp_path / "bot.log", ready_url="http://127.0.0.1:1/")
    child.start()
    with pytest.raises(StartFailed, match=r"The bot ended while starting\.\nno such table"):
        child.wait_ready(10)
    child.stop()


def test_a_child_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr("bot.workbench.children.STOP_S", 0.2)
    script = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    child = Child("Stubborn", [sys.executable, "-c", script], log=tmp_path / "log", ready_url="http://127.0.0.1:1/")
    child.start()
    pid = child.pid
    eventually(lambda: "ready" in child.log.read_text(), 60)
    child.stop()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_start_that_fails_leaves_nothing_behind(manifest: Path, tmp_path: Path) -> None:
    bench = Workbench(Options(ports=ANY, directory=tmp_path / "s", monitoring=False, manifest=manifest))
    bench.bot = Child("The bot", [sys.executable, "-c", "pass"], log=tmp_path / "log", ready_url="http://127.0.0.1:1/")
    with pytest.raises(StartFailed):
        bench.start()
    with bind(bench.ports.page, "--port"), bind(bench.ports.fleet, "--fleet-port"):
        pass


def test_a_port_can_be_bound_only_once() -> None:
    with bind(0, "--port") as first, pytest.raises(PortTaken):
        bind(first.getsockname()[1], "--port")


def test_a_port_that_is_let_go_is_none_that_an_outgoing_connection_may_take(bench: Workbench) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(bench.ports.doors, bench.ports.pages, bench.ports.prometheus, bench.ports.alertmanager) < lowest


def test_the_program_says_where_the_page_is_and_ends_on_sigterm(manifest: Path, tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "bot.workbench",
        "--no-bot",
        "--manifest",
        str(manifest),
        "--dir",
        str(tmp_path / "d"),
    ]
    with subprocess.Popen([*argv, *_free()], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = ""
        for line in program.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        program.send_signal(signal.SIGTERM)
        said += program.stdout.read()
        assert program.wait(15) == 0
    assert re.search(r"http://127\.0\.0\.1:\d+   open this, then press Bad deploy", said)
    assert "Ending" in said


def _free(*but: str) -> list[str]:
    options = ("--port", "--pagerduty-port", "--fleet-port", "--prometheus-port", "--alertmanager-port",
               "--doors-port", "--pages-port")  # fmt: skip
    return [word for option in options if option not in but for word in (option, "0")]
