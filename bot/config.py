"""`fixfirst.toml` and the secrets of the environment, read once. Every fault is reported, with its key and its fix.

Secrets never stand in the file: it may name them, the environment holds them. This is the only module that reads it.
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot import health
from bot.audit import heartbeat
from bot.health import promises, proof
from bot.health.rules.pack import Scope
from bot.incident.brake import Cap
from bot.incident.events import Severity
from bot.incident.links import MOST as MOST_LINKS
from bot.incident.links import Links
from bot.incident.links import faults as link_faults
from bot.incident.policy import Policy
from bot.intake.reading import SEVERITIES, Reading
from bot.integrations import CHANGES, PAGERS, SOURCES, TARGETS, alertmanager, loki, nvml, pagerduty, prometheus, shell
from bot.integrations.fallback import NAME as PAGER_NAME
from bot.integrations.fallback import Voice
from bot.integrations.probe import Probe
from bot.oncall import StaticOnCall
from bot.quality import canary
from bot.runbook.kinds import KINDS, Targets
from bot.settings import Secret, Table, duration, shown
from bot.slack.settings import Settings as SlackSettings

if TYPE_CHECKING:  # both lead to the database, which whoever only checks a runbook does not need
    from bot import tracing
    from bot.drills import Scenario

SecretOf = Callable[[str], str | None]

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
SHORTEST_WINDOW: Final = timedelta(seconds=10)
"""A shorter look at the telemetry would fall between two scrapes."""
LONGEST_LOOK_BACK: Final = timedelta(days=1)
"""What was changed longer ago is not the first thing to look at, and the telemetry is asked for all of it."""
SHORTEST_PATIENCE: Final = timedelta(seconds=10)
"""A pager that is handed the page gets at least two tries."""
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
DRILL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
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
    checkout = Path(__file__).parents[1] / "runbooks"
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
    fallbacks = _fallbacks(pager, secret, faults)
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
    measured = _health(tables["health"], faults)
    oncall, more = StaticOnCall.from_toml(tables["oncall"])
    faults += more
    proving = _proof(tables["proof"], faults)
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
        probes=_probes(tables["probes"], tables["kubernetes"], secret, faults),
        nvml=nvml.Settings.from_toml(tables["nvml"], faults),
        proof=proving,
        links=_links(tables["links"], faults),
        loki=reading_logs,
        heartbeat=beating,
        tracing=traced,
        targets={
            **{name: _targets(name, tables[name], secret, faults) for name in TARGETS},
            "commands": _commands(base / commands, secret, faults) if commands else {},
        },
        tokens={name: _tokens(name, secret, faults) for name in (*SOURCES, *CHANGES)},
        drills=_drills(tables["drills"], secret, base, faults),
        canaries=canaries,
        oncall=oncall,
        policy=replace(
            _policy(tables["deadlines"], faults),
            pagers=(pagerduty.NAME, *fallbacks) if paging else (),
            accept_within=accept_within,
            proof_over=timedelta(seconds=proving.quiet) if metrics and proving.required else None,
            no_proof=Policy().no_proof if proving.required else "no proof is required here",
            caps=_caps(Table("caps", tables["caps"], faults)),
            **_changes(Table("changes", tables["changes"], faults)),
        ),
        reading=_reading(tables["alerts"], faults),
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


def _tokens(source: str, secret: SecretOf, faults: list[str]) -> tuple[Secret, ...]:
    """The bearer tokens of an alert source; several while one is being changed for another."""
    name = f"FIXFIRST_{source.upper()}_TOKENS"
    tokens = tuple(Secret(token.strip()) for token in (secret(name) or "").split(",") if token.strip())
    if any(len(token.reveal()) < SHORTEST_TOKEN for token in tokens):
        faults.append(
            f"{name}: a token is shorter than {SHORTEST_TOKEN} characters; make one with openssl rand -hex 24"
        )
    return tokens


def _fallbacks(pager: Table, secret: SecretOf, faults: list[str]) -> Mapping[str, Voice]:
    """Whom to page by when the pager before has not accepted, in this order."""
    fallbacks: dict[str, Voice] = {}
    for number, values in enumerate(pager.tables("fallback"), 1):
        table = Table(f"pager.fallback[{number}]", values, faults)
        kind = table.choice("kind", "", tuple(PAGERS)) if "kind" in values else table.text("kind", required=True)
        name = table.text("name", kind)
        if kind and not PAGER_NAME.fullmatch(name):
            table.fault("name", f"is {shown(name)}, but must be 1 to 30 small letters, digits and -")
        if name in fallbacks:
            table.fault("name", f"is {name}, as another fallback's; give each its own")
        if kind in PAGERS:
            fallbacks[name] = PAGERS[kind](name, table, secret)
            table.done()
    return fallbacks


def _targets(table: str, values: Mapping[str, Any], secret: SecretOf, faults: list[str]) -> Mapping[str, Any]:
    """What steps of runbooks may name, by that name."""
    targets: dict[str, Any] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict):
            faults.append(f"{table}.{name}: must be a table; write [{table}.{name}]")
            continue
        target, more = TARGETS[table](name, inner, secret)
        faults += [f"{table}.{name}.{fault}" for fault in more]
        if target is not None:
            targets[name] = target
    return targets


def _commands(path: Path, secret: SecretOf, faults: list[str]) -> Mapping[str, Any]:
    """The programs that steps may run, from a file of their own: it has other owners than this one."""
    commands, more = shell.read(path, secret)
    faults += [f"commands: {path} {fault}" for fault in more]
    return commands


def _health(values: Mapping[str, Any], faults: list[str]) -> health.Settings:
    table = Table("health", values, faults)
    standard = health.Settings()
    settings = health.Settings(
        window=_look_back(table, "window", standard.window),
        memory=_look_back(table, "memory", standard.memory),
        sla_seconds=table.number("first_token_within_seconds", standard.sla_seconds, low=0.001, high=3600),
        change_seconds=_look_back(table, "change", standard.change_seconds),
        version_labels=_labels(table, "version_labels", standard.version_labels),
        mirror_label=_label(table, "mirror_label", standard.mirror_label),
        limits=_limits(table.mapping("limits"), faults),
    )
    if settings.memory < settings.window:
        table.fault("memory", f"must be at least as long as window, {settings.window}s")
    table.done()
    return settings


def _label(table: Table, key: str, default: str) -> str:
    """The name of a label, or nothing."""
    name = table.text(key, default)
    if name and not LABEL.fullmatch(name):
        table.fault(key, f"{shown(name)} is no name of a label; letters, digits and _ make one")
        return default
    return name


def _labels(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Names of labels, which become part of queries."""
    labels = table.texts(key, default)
    for name in labels:
        if not LABEL.fullmatch(name):
            table.fault(key, f"{shown(name)} is no name of a label; letters, digits and _ make one")
            return default
    return labels


def _probes(
    values: Mapping[str, Any], clusters: Mapping[str, Any], secret: SecretOf, faults: list[str]
) -> Mapping[str, Probe]:
    """Which servers are asked directly, by the name of their table."""
    probes: dict[str, Probe] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict):
            faults.append(f"probes.{name}: must be a table; write [probes.{name}]")
            continue
        probe, more = Probe.from_toml(name, inner, secret)
        faults += [f"probes.{name}.{fault}" for fault in more]
        if probe and probe.pods and probe.pods.target not in clusters:
            known = ", ".join(clusters) or "none"
            faults.append(f"probes.{name}.kubernetes.target: no [kubernetes.{probe.pods.target}]; known: {known}")
        if probe:
            probes[name] = probe
    return probes


def _proof(values: Mapping[str, Any], faults: list[str]) -> proof.Settings:
    table = Table("proof", values, faults)
    standard = proof.Settings()
    settings = proof.Settings(
        required=table.flag("required", default=standard.required),
        quiet=_look_back(table, "quiet", standard.quiet),
        worse=table.number("worse", standard.worse, low=1, high=100),
    )
    table.done()
    return settings


def _limits(values: Mapping[str, Any], faults: list[str]) -> dict[str, health.Limits]:
    """`U1 = {warn = 0.01, crit = 0.10}`: instead of the standard limits, in the unit of the check."""
    checks = health.limited()
    limits: dict[str, health.Limits] = {}
    for name, value in values.items():
        check = checks.get(name)
        if check is None:
            faults.append(f"health.limits.{shown(name)}: is no check with limits; there are {', '.join(checks)}")
        elif not isinstance(value, dict):
            faults.append(f"health.limits.{name}: is {shown(value)}, but must be a table such as {{warn = 1}}")
        else:
            limits[name] = _limit(Table(f"health.limits.{name}", value, faults), check)
    return limits


def _limit(table: Table, check: health.Check) -> health.Limits:
    found = {
        key: table.number(key, standard, low=0, high=1e9)
        for key, standard in (("warn", check.warn), ("crit", check.crit))
        if standard is not None
    }
    table.done()
    warn, crit = found.get("warn"), found.get("crit")
    if warn is not None and crit is not None and (warn < crit if check.direction == "below" else warn > crit):
        table.fault("warn", f"is {warn:g}, which lies past crit, {crit:g}; a warning comes first")
    return health.Limits(warn, crit)


def _links(values: Mapping[str, Any], faults: list[str]) -> Links:
    """Where else people look, by the name they read."""
    table = Table("links", values, faults)
    templates = {name: table.text(name, required=True) for name in values}
    for name, template in templates.items():
        for fault in link_faults(name, template) if template else ():
            table.fault(name, fault)
    if len(templates) > MOST_LINKS:
        faults.append(f"links: has {len(templates)} links, but people find their way among {MOST_LINKS} at most")
    return templates


def _look_back(table: Table, key: str, default: int) -> int:
    """How far back to look, in seconds."""
    length = table.span(key, timedelta(seconds=default))
    if length < SHORTEST_WINDOW:
        table.fault(key, f"must be at least {SHORTEST_WINDOW.seconds}s, longer than two scrapes")
        return default
    return int(length.total_seconds())


def _policy(values: Mapping[str, Any], faults: list[str]) -> Policy:
    table = Table("deadlines", values, faults)
    standard = Policy()
    updates = Table("deadlines.update_every", table.mapping("update_every"), faults)
    spans = {
        severity: updates.span(severity.value, standard.update_span(severity) or timedelta(0)) for severity in Severity
    }
    policy = Policy(
        ack_within=table.span("acknowledge", standard.ack_within),
        max_escalations=table.whole("escalations", standard.max_escalations, low=0, high=20),
        snooze=table.span("snooze", standard.snooze),
        reopen_within=table.span("reopen", standard.reopen_within),
        update_every=tuple((severity, span) for severity, span in spans.items() if span),
        quiet=table.span("quiet", standard.quiet),
        self_resolving=_severities(table, "self_resolving", standard.self_resolving),
        pages=_severities(table, "pages", standard.pages),
        announce_every=table.span("announce_every", standard.announce_every),
    )
    updates.done()
    table.done()
    if policy.ack_within <= timedelta(0):
        table.fault("acknowledge", "must be longer than nothing")
    return policy


def _changes(table: Table) -> Mapping[str, Any]:
    """What of the policy is about changes."""
    within = table.span("look_back", Policy().changes_within)
    if not timedelta(0) < within <= LONGEST_LOOK_BACK:
        table.fault("look_back", f"must be longer than nothing and at most {LONGEST_LOOK_BACK.days * 24}h")
    kept = timedelta(days=table.whole("keep_days", Policy().changes_kept.days, low=2, high=3_650))
    environments = frozenset(table.texts("environments"))
    table.done()
    return {"changes_within": within, "changes_kept": kept, "environments": environments}


def _caps(table: Table) -> Mapping[str, Cap]:
    """How often a kind of step may be carried out, as `"k8s.drain" = "1 per 1h"`; 0 takes a cap of our own away."""
    caps = dict(Policy().caps)
    for kind in table.values:
        most, _, span = table.text(kind).partition(" per ")
        within = duration(span)
        if kind not in KINDS:
            table.fault(kind, f"is no kind of step; known: {', '.join(KINDS)}")
        elif most == "0" and not span:
            caps.pop(kind, None)
        elif not most.isdecimal() or int(most) < 1 or within is None or not within:
            table.fault(kind, 'must be how many in what time, as "1 per 1h", or "0" for no cap')
        else:
            caps[kind] = Cap(int(most), within)
    table.done()
    return caps


def _drills(values: Mapping[str, Any], secret: SecretOf, base: Path, faults: list[str]) -> "Mapping[str, Scenario]":
    """What can be practised, by name."""
    from bot.drills import Scenario

    drills: dict[str, Scenario] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict) or not DRILL_NAME.fullmatch(name):
            faults.append(f"drills.{name}: must be a table named by small letters, digits and -; write [drills.NAME]")
            continue
        drills[name], more = Scenario.from_toml(name, inner, secret, base)
        faults += [f"drills.{name}.{fault}" for fault in more]
    return drills


def _severities(table: Table, key: str, default: frozenset[Severity]) -> frozenset[Severity]:
    named = table.texts(key, tuple(sorted(default)))
    wrong = [name for name in named if name not in list(Severity)]
    for name in wrong:
        table.fault(key, f"{name!r} is no severity; use SEV1, SEV2, SEV3 or SEV4")
    return frozenset(Severity(name) for name in named if name not in wrong)


def _reading(values: Mapping[str, Any], faults: list[str]) -> Reading:
    table = Table("alerts", values, faults)
    standard = Reading()
    severities = dict(SEVERITIES)
    for word, name in table.mapping("severities").items():
        if name in list(Severity):
            severities[str(word).lower()] = Severity(name)
        else:
            table.fault(f"severities.{word}", f"{name!r} is no severity; use SEV1, SEV2, SEV3 or SEV4")
    reading = Reading(
        severity=table.texts("severity_labels", standard.severity),
        severities=severities,
        default_severity=Severity(
            table.choice("default_severity", standard.default_severity.value, tuple(s.value for s in Severity))
        ),
        service=table.texts("service_labels", standard.service),
        model=table.texts("model_labels", standard.model),
        host=table.texts("host_labels", standard.host),
        runbook=table.texts("runbook_annotations", standard.runbook),
        group_by=table.texts("group_by", standard.group_by),
        storm_groups=table.whole("storm_groups", standard.storm_groups, low=1, high=1000),
    )
    table.done()
    return reading
