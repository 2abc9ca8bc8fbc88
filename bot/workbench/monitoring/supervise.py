"""Writes the monitoring configuration of this run and keeps the two Debian programs going, where installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from bot.workbench.children import Child

APT_LINE = "sudo apt-get install -y --no-install-recommends prometheus prometheus-alertmanager"
READY_S = 20.0


@dataclass(frozen=True)
class MonitoringConfig:
    """Where everything is. Addresses are host:port; `webhook_url` takes Alertmanager's v4 webhooks."""

    directory: Path
    fleet: str
    bot: str
    webhook_url: str
    webhook_token: str
    prometheus: str = "127.0.0.1:18090"
    alertmanager: str = "127.0.0.1:18093"


class Monitoring:
    """Prometheus and Alertmanager as children. `find` is `shutil.which`, or says "not installed" in a test."""

    def __init__(self, config: MonitoringConfig, find: Callable[[str], str | None] = shutil.which) -> None:
        self.config = config
        self._prometheus = find("prometheus")
        self._alertmanager = find("prometheus-alertmanager") or find("alertmanager")
        self._children: dict[str, Child] = {}

    @property
    def missing(self) -> list[str]:
        """The Debian packages that are not installed."""
        found = {"prometheus": self._prometheus, "prometheus-alertmanager": self._alertmanager}
        return [package for package, program in found.items() if program is None]

    def start(self) -> None:
        """Start what is installed and return when it is ready; StartFailed when something does not come up."""
        directory = self.config.directory
        directory.mkdir(parents=True, exist_ok=True)
        if self._alertmanager is not None:
            self._children["alertmanager"] = self._alertmanager_child(self._alertmanager)
        if self._prometheus is not None:
            self._children["prometheus"] = self._prometheus_child(self._prometheus)
        for child in self._children.values():
            child.start()
        for child in self._children.values():
            child.wait_ready(READY_S)

    def stop(self) -> None:
        """End what was started."""
        for child in self._children.values():
            child.stop()

    def state(self, name: str) -> str:
        """ "up", "down" or "missing" (not installed) for "prometheus" or "alertmanager"."""
        child = self._children.get(name)
        if child is None:
            return "missing"
        return "up" if child.running else "down"

    def _alertmanager_child(self, program: str) -> Child:
        token_file = self.config.directory / "webhook.token"
        descriptor = os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.config.webhook_token)
        config = self._write("alertmanager.yml", webhook=self.config.webhook_url, token_file=str(token_file))
        address = self.config.alertmanager
        argv = [
            program,
            f"--config.file={config}",
            f"--storage.path={self.config.directory / 'alertmanager-data'}",
            "--cluster.listen-address=",  # one instance: no gossip port
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}/",
        ]
        log = self.config.directory / "alertmanager.log"
        return Child("Alertmanager", argv, log=log, ready_url=f"http://{address}/-/ready")

    def _prometheus_child(self, program: str) -> Child:
        rules = self._write("rules.yml")
        config = self._write(
            "prometheus.yml",
            rules=str(rules),
            fleet=self.config.fleet,
            bot=self.config.bot,
            alertmanager=self.config.alertmanager,
        )
        address = self.config.prometheus
        argv = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.config.directory / 'prometheus-data'}",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}/",
        ]
        log = self.config.directory / "prometheus.log"
        return Child("Prometheus", argv, log=log, ready_url=f"http://{address}/-/ready")

    def _write(self, name: str, **words: str) -> Path:
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        path = self.config.directory / name
        quoted = {key: word.replace("'", "''") for key, word in words.items()}  # YAML's single-quoted style
        path.write_text(Template(text).substitute(quoted) if quoted else text, encoding="utf-8")
        return path
