"""`fixfirst.toml` and the secrets of the environment, read once. Every fault is reported, with its key and its fix.

Secrets never stand in the file: it may name them, the environment holds them. This is the only room that reads it.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot import health
from bot.audit import heartbeat
from bot.config.policy import read_alerts, read_caps, read_changes, read_deadlines
from bot.config.targets import read_commands, read_drills, read_fallbacks, read_targets
from bot.config.telemetry import read_health, read_links, read_probes, read_proof
from bot.health import promises, proof
from bot.health.rules.watched import Scope
from bot.incident.links import Links
from bot.incident.policy import Policy
from bot.intake.reading import Reading
from bot.integrations import CHANGES, SOURCES, TARGETS, alertmanager, loki, nvml, pagerduty, prometheus
from bot.integrations.fallback import Voice
from bot.integrations.probe import Probe
from bot.oncall import StaticOnCall
from bot.quality import canary
from bot.runbook.kinds import Targets
from bot.settings import Secret, SecretOf, Table
from bot.slack.settings import Settings as SlackSettings

if TYPE_CHECKING:  # both lead to the database, which whoever only checks a runbook does not need
    from bot import tracing
    from bot.drills import Scenario

TABLES: Final = (
    "doors",
    "pages",
    "slack",
    "access",
    "oncall",
    "deadlines",
    "caps",
    "drills",
    "alerts",
    "changes",
    *SOURCES,
    "pagerduty",
    "pager",
    "prometheus",
    "health",
    "probes",
    "nvml",
    "proof",
    "links",
    "rules",
    "loki",
    "heartbeat",
    "retention",
    "tracing",
    *TARGETS,
)

SHORTEST_TOKEN: Final = 16
YOUNGEST_ARCHIVED: Final = 30
"""Days: younger incidents may return, and what the engine still keeps of their deliveries must be gone by then."""
SHORTEST_PATIENCE: Final = timedelta(seconds=10)
"""A pager that is handed the page gets at least two tries."""
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, slots=True)
class Listener:
    """Where one of the two listeners is bound; port 0 takes any that is free."""

    host: str
    port: int


DATABASE: Final = "FIXFIRST_DATABASE"
"""Goes before `database` in the file: the address of a PostgreSQL holds a password as a rule."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the bot is told. What is None is not connected."""

    workspace: str
    data_dir: Path
    database: str
    queue: bool
    database_epoch: str
    postmortems_dir: Path
    runbooks_dir: Path
    doors: Listener
    archive_after: timedelta | None
    archive_dir: Path
    pages: Listener
    pages_url: str
    largest_body: int
    slack: SlackSettings | None
    alertmanager: alertmanager.Settings | None
    pagerduty: pagerduty.Settings | None
    fallbacks: Mapping[str, Voice]
    prometheus: prometheus.Settings | None
    health: health.Settings
    probes: Mapping[str, Probe]
    nvml: nvml.Settings
    proof: proof.Settings
    links: Links
    rules: Scope
    loki: loki.Settings | None
    heartbeat: heartbeat.Settings | None
    tracing: "tracing.Settings | None"
    targets: Targets
    tokens: Mapping[str, tuple[Secret, ...]]
    drills: "Mapping[str, Scenario]"
    canaries: tuple[canary.Canary, ...]
    oncall: StaticOnCall
    policy: Policy
    reading: Reading


def shipped_runbooks() -> Path:
    """The runbooks that come with the bot: beside the package in a checkout, else where the wheel put them."""
    checkout = Path(__file__).parents[2] / "runbooks"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "fixfirst" / "runbooks"


def load(path: Path, secret: SecretOf = os.environ.get) -> tuple[Config | None, list[str]]:
    """The configuration, or None with every fault as a sentence."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return None, [f"cannot be read ({error.strerror}); name another file with --config"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, [f"is not TOML: {error}"]
    return read(values, path.parent, secret)


def load_for_terminal(path: Path) -> tuple[Config | None, list[str]]:
    """As `load`, for commands that only touch the journal: a secret that is not set is no fault, and is never used."""
    return load(path, lambda name: os.environ.get(name) or (None if name == DATABASE else f"not-set:{name}"))


def _trimmed(secret: SecretOf) -> SecretOf:
    """Secrets without the line break that files and secret stores like to add; no header can carry it."""
    return lambda name: (secret(name) or "").strip() or None


def read(values: Mapping[str, Any], base: Path, secret: SecretOf) -> tuple[Config | None, list[str]]:
    """As `load`, from values; relative paths are below `base`."""
    faults: list[str] = []
    secret = _trimmed(secret)
    top = Table("", values, faults)
    workspace = top.text("workspace", "default")
    if not workspace.replace("-", "").replace("_", "").isalnum() or len(workspace) > 40:
        top.fault("workspace", "must be letters, digits, - and _, at most 40; it becomes part of every page's key")
    data_dir = base / top.text("data_dir", "data")
    postmortems_dir = base / top.text("postmortems_dir", "postmortems")
    runbooks = top.text("runbooks_dir")
    runbooks_dir = base / runbooks if runbooks else shipped_runbooks()
    if not runbooks_dir.is_dir():
        top.fault("runbooks_dir", f"{runbooks_dir} is no folder; name one, or leave it out for the shipped runbooks")
    in_file = top.text("database", f"sqlite:///{data_dir / 'fixfirst.db'}")
    database, fault = _database(secret(DATABASE) or in_file)
    queue = top.flag("queue", default=True) and database.startswith("postgresql")
    epoch = top.text("database_epoch")
    commands = top.text("commands")
    tables = {name: top.mapping(name) for name in TABLES}
    objectives = promises.objectives(top.tables("slo"), faults)
    if fault:
        top.fault("database", fault)
    canaries = canary.read_all(top.tables("canary"), secret, base, faults)
    pauses = [one.every.total_seconds() for one in canaries]
    top.done()

    doors = Table("doors", tables["doors"], faults)
    doors_at = Listener(doors.text("host", "127.0.0.1"), doors.whole("port", 8080, low=0, high=65_535))
    largest = doors.whole("largest_body_mb", 16, low=1, high=256) * 1024 * 1024
    doors.done()
    pages = Table("pages", tables["pages"], faults)
    pages_at = Listener(pages.text("host", "127.0.0.1"), pages.whole("port", 8081, low=0, high=65_535))
    pages_url = pages.url("url", f"http://{pages_at.host}:{pages_at.port}").rstrip("/")
    if doors_at == pages_at and doors_at.port:
        pages.fault("port", f"is {pages_at.port}, where the doors listen; choose another")
    if pages_at.host in ANYWHERE and "url" not in pages.values:
        pages.fault("url", f"is missing, and no link can lead to {pages_at.host}; set where people reach the pages")
    pages.done()

    access = Table("access", tables["access"], faults)
    responders = access.texts("responders")
    owner = access.text("owner")
    access.done()
    slack = None
    if "slack" in values:
        slack, more = SlackSettings.from_toml(
            {**tables["slack"], "responders": list(responders), "owner": owner}, secret
        )
        faults += more
    paging = None
    if "pagerduty" in values:
        paging, more = pagerduty.Settings.from_toml(tables["pagerduty"], secret)
        faults += more
    pager = Table("pager", tables["pager"], faults)
    accept_within = pager.span("accept_within", Policy().accept_within)
    fallbacks = read_fallbacks(pager, secret, faults)
    pager.done()
    if accept_within < SHORTEST_PATIENCE:
        pager.fault("accept_within", f"must be at least {SHORTEST_PATIENCE.seconds}s, longer than two tries")
    if fallbacks and "pagerduty" not in values:
        pager.fault("fallback", "has no first pager to stand in for; add [pagerduty]")
    metrics = None
    if "prometheus" in values:
        metrics, more = prometheus.Settings.from_toml(tables["prometheus"], secret)
        faults += [f"prometheus.{fault}" for fault in more]
    reading_logs = None
    if "loki" in values:
        reading_logs, more = loki.Settings.from_toml(tables["loki"], secret)
        faults += more
    beating = None
    if "heartbeat" in values:
        beating, more = heartbeat.Settings.from_toml(tables["heartbeat"])
        faults += more
    traced = None
    if "tracing" in values:
        from bot import tracing

        traced, more = tracing.Settings.from_toml(tables["tracing"], secret)
        faults += more
    retention = Table("retention", tables["retention"], faults)
    archive_days = retention.whole("archive_after_days", 0, low=0, high=36_500)
    archive_dir = base / retention.text("archive_dir", "archive")
    retention.done()
    if 0 < archive_days < YOUNGEST_ARCHIVED:
        retention.fault("archive_after_days", f"is {archive_days}, but must be at least {YOUNGEST_ARCHIVED}, or 0")
    sources = {name: Table(name, tables[name], faults) for name in SOURCES}
    asking = alertmanager.Settings.from_table(sources[alertmanager.SOURCE], secret)
    for table in sources.values():
        table.done()
    measured = read_health(tables["health"], faults)
    oncall, more = StaticOnCall.from_toml(tables["oncall"])
    faults += more
    proving = read_proof(tables["proof"], faults)
    config = Config(
        workspace=workspace,
        data_dir=data_dir,
        database=database,
        queue=queue,
        database_epoch=epoch,
        postmortems_dir=postmortems_dir,
        runbooks_dir=runbooks_dir,
        archive_after=timedelta(days=archive_days) if archive_days else None,
        archive_dir=archive_dir,
        doors=doors_at,
        pages=pages_at,
        pages_url=pages_url,
        largest_body=largest,
        slack=slack,
        alertmanager=asking,
        pagerduty=paging,
        fallbacks=fallbacks,
        prometheus=metrics,
        health=measured,
        rules=promises.scope(Table("rules", tables["rules"], faults), objectives, measured, pages_url, pauses),
        probes=read_probes(tables["probes"], tables["kubernetes"], secret, faults),
        nvml=nvml.Settings.from_toml(tables["nvml"], faults),
        proof=proving,
        links=read_links(tables["links"], faults),
        loki=reading_logs,
        heartbeat=beating,
        tracing=traced,
        targets={
            **{name: read_targets(name, tables[name], secret, faults) for name in TARGETS},
            "commands": read_commands(base / commands, secret, faults) if commands else {},
        },
        tokens={name: _tokens(name, secret, faults) for name in (*SOURCES, *CHANGES)},
        drills=read_drills(tables["drills"], secret, base, faults),
        canaries=canaries,
        oncall=oncall,
        policy=replace(
            read_deadlines(tables["deadlines"], faults),
            pagers=(pagerduty.NAME, *fallbacks) if paging else (),
            self_escalating=_self_escalating(paging, fallbacks),
            accept_within=accept_within,
            proof_over=timedelta(seconds=proving.quiet) if metrics and proving.required else None,
            no_proof=Policy().no_proof if proving.required else "no proof is required here",
            caps=read_caps(Table("caps", tables["caps"], faults)),
            **read_changes(Table("changes", tables["changes"], faults)),
        ),
        reading=read_alerts(tables["alerts"], faults),
    )
    return (None if faults else config), faults


def _database(url: str) -> tuple[str, str]:
    """The database's address with its driver, and what is wrong with it."""
    kind, _, rest = url.partition("://")
    if kind in ("postgresql", "postgres", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}", ""
    if kind == "sqlite":
        return url, ""
    return url, f"must begin with postgresql:// or sqlite:///; for one with a password, set {DATABASE} instead"


def _self_escalating(paging: pagerduty.Settings | None, fallbacks: Mapping[str, Voice]) -> frozenset[str]:
    """The pagers that call the next person by a policy of their own: PagerDuty, where the bot is not told to do it."""
    spare = {name for name, voice in fallbacks.items() if isinstance(voice, pagerduty.Integration)}
    first = {pagerduty.NAME} if paging is not None and paging.escalation == "policy" else set()
    return frozenset(first | spare)


def _tokens(source: str, secret: SecretOf, faults: list[str]) -> tuple[Secret, ...]:
    """The bearer tokens of an alert source; several while one is being changed for another."""
    name = f"FIXFIRST_{source.upper()}_TOKENS"
    tokens = tuple(Secret(token.strip()) for token in (secret(name) or "").split(",") if token.strip())
    if any(len(token.reveal()) < SHORTEST_TOKEN for token in tokens):
        faults.append(
            f"{name}: a token is shorter than {SHORTEST_TOKEN} characters; make one with openssl rand -hex 24"
        )
    return tokens
