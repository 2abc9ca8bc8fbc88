"""The pages before a real journal, with a clock moved by hand and a client that asks as a browser would."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot.audit.auditor import Auditor
from bot.desk import Desk
from bot.hands import Hands
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.due import next_due_at
from bot.incident.events import Event, Severity
from bot.incident.people import BOT, Actor, ActorKind, Right
from bot.incident.policy import Policy
from bot.incident.run import Risk, StepSpec
from bot.incident.state import Incident
from bot.intake.reading import Reading
from bot.integrations.http import Endpoint, Undo
from bot.journal import Journal
from bot.journal.audit import try_out
from bot.journal.database import migrate, open_engine, sqlite_url
from bot.postmortem.draft import draft
from bot.postmortem.shelf import Shelf
from bot.runbook.kinds import Targets
from bot.runbook.shelf import survey
from bot.web.health import Vitals
from bot.web.metrics import Held, Numbers
from bot.web.pages import pages_app
from bot.web.runbooks import Runbooks
from bot.web.traffic import Traffic

MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya Okafor", frozenset({Right.RESPOND}))
JONAS = Actor(ActorKind.MEMBER, "U0JONAS", "Jonas Weber", frozenset({Right.RESPOND}))
ALERTMANAGER = Actor(ActorKind.SOURCE, "alertmanager", "Alertmanager")
PAGER = "PagerDuty"
ADDRESS = "http://127.0.0.1:8081"
RUNBOOK = """---
runbook: 1
id: rollback
title: Roll back a model deploy
owner: team-inference
alerts: [ModelErrorRateHigh, ModelTTFTHigh]
params:
  model: {from: alert.labels.model_name, type: model_name}
lock: deploy/{{ model }}
---

# Roll back a model deploy

> [!WARNING]
> Cold caches make the first minutes slow.

## Steps

### 1. Are errors really up?

```yaml step
id: check
do: promql.assert
with: {query: 'errors{model="{{ model }}"}', expect: "> 0.02"}
```

### 2. Look at the change

- [ ] The image diff is the deploy you suspect

### 3. Roll back {{ model }}

```yaml step
id: rollback
do: http.request
with: {endpoint: model-deploy, model: "{{ model }}"}
verify: {query: 'errors{model="{{ model }}"}', expect: "< 0.01", for: 3m, within: 20m}
undo: auto
```

## What good looks like

Errors fall below 1 in 100.
"""
TARGETS: Targets = {
    "endpoints": {
        "model-deploy": Endpoint(
            name="model-deploy",
            risk=Risk.REVERSIBLE,
            method="POST",
            url="https://deploy.internal/v1/models/{model}/deploy",
            undo=Undo("POST", "https://deploy.internal/v1/models/{model}/deploy", None),
        )
    }
}
CHECKS = (
    ("U1", "Users' errors", "crit", "31.0% of requests fail", "llama-70b"),
    ("U2", "Time to first token", "warn", "4.1 s at the 95th percentile", "llama-70b"),
    ("C1", "Recent change", "crit", "a deploy 4 min ago", "llama-70b r41"),
    ("G1", "GPU errors", "ok", "no Xid in the last 10 min", ""),
    ("G2", "GPU memory", "ok", "no GPU is short of memory", ""),
    ("Q1", "Queue", "unknown", "no such series", ""),
)


def evidence(**changes: Any) -> ev.EvidenceCollected:
    """What the telemetry said after a bad deploy."""
    checks = [
        {"check": check, "title": title, "status": status, "text": text, "offender": offender}
        for check, title, status, text, offender in CHECKS
    ]
    report = {"agree": 4, "signals": 5, "unknowns": ["queue length: no such series"], "checks": checks}
    values: dict[str, Any] = {
        "verdict": "OUTAGE",
        "impact": "31% of requests to llama-70b fail",
        "cause": "A deploy of llama-70b 4 min ago.",
        "runbook": "rollback",
        "report": report,
    }
    return ev.EvidenceCollected(**{**values, **changes})


@dataclass
class Site:
    """A workspace of incidents and the pages that show it."""

    folder: Path
    url: str = ""
    now: datetime = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    policy: Policy = field(default_factory=Policy)
    turned_at: datetime | None = None
    turns_away: str = ""
    models: Callable[[], str] = str
    journal: Journal = field(init=False)
    app: Starlette = field(init=False)
    count: int = 0
    writes_within_s: float = 30.0

    def __post_init__(self) -> None:
        engine = open_engine(self.url or sqlite_url(self.folder))
        migrate(engine)
        self.journal = Journal(engine, "test", self.clock, lambda incident: next_due_at(incident, self.policy))
        self.desk = Desk(self.journal, self.policy, Reading(), lambda: None)
        self.auditor = Auditor(self.journal, replace(self.policy, pagers=(PAGER,)), lambda: self.turned_at)
        self.shelf = Shelf(self.folder / "postmortems")
        self.runbooks = self.folder / "runbooks"
        self.runbooks.mkdir(exist_ok=True)
        (self.runbooks / "rollback.md").write_text(RUNBOOK)
        self.open_pages()

    def open_pages(self) -> None:
        """As a start of the bot does: the folder of runbooks is read."""
        books, _ = survey(self.runbooks, targets=TARGETS)
        self.app = pages_app(
            self.journal,
            self.shelf,
            Runbooks(books, TARGETS),
            self.clock,
            policy=self.policy,
            hands=Hands(self.desk),
            hosts=["127.0.0.1", "localhost", "::1", "incidents.example.com"],
            vitals=Vitals(self.numbers, self._writes, self.auditor.findings, lambda: self.turns_away, self.models),
        )
        self.client = TestClient(self.app, base_url=ADDRESS, follow_redirects=False)

    def _writes(self) -> None:
        try_out(self.journal, self.writes_within_s)

    def clock(self) -> datetime:
        return self.now

    def numbers(self) -> Numbers:
        return Numbers(
            started_at=self.now,
            unopened=self.desk.unopened,
            held=Held.of(self.journal, replace(self.policy, pagers=(PAGER,))),
            deliveries={},
            findings={},
            turned_at=self.turned_at,
            audited_at=None,
            heartbeats={},
            refused={},
            traffic=Traffic(("/hooks/alertmanager",)),
        )

    def after(self, **span: float) -> "Site":
        self.now += timedelta(**span)
        return self

    def do(self, kind: type[cmd.Command], incident: str = "i1", by: Actor = MAYA, **fields: Any) -> Incident:
        self.count += 1
        source = fields.pop("source", "slack")
        command = kind(incident=incident, by=by, at=self.now, key=f"test:{self.count}", source=source, **fields)
        return self.desk.handle(command).incident

    def alerts(self, firing: int, resolved: int = 0, new: int = 0, incident: str = "i1", **fields: Any) -> Incident:
        values: dict[str, Any] = {
            "title": "llama-70b answers with errors",
            "severity": Severity.SEV1,
            "service": "chat",
            "model": "llama-70b",
            "group_key": f"v1:{incident}",
            "source": "alertmanager",
        }
        return self.do(
            cmd.ReportAlerts,
            incident,
            ALERTMANAGER,
            firing=firing,
            resolved=resolved,
            new=new,
            **{**values, **fields},
        )

    def receipt(self, *events: Event, incident: str = "i1") -> Incident:
        return self.do(cmd.RecordReceipt, incident, BOT, source="courier", events=events)

    def nothing_waits(self) -> None:
        """As if every courier had done its work, with nothing to report."""
        until = self.now + timedelta(minutes=1)
        while jobs := self.journal.ready_jobs(self.now):
            for ready in jobs:
                job = self.journal.write(lambda txn, ready=ready: txn.claim(ready.id, until)).result()  # type: ignore[misc]
                assert job is not None
                self.journal.write(lambda txn, job=job: txn.finish(job)).result()  # type: ignore[misc]

    def rollback(self) -> None:
        """Maya runs the runbook up to its proof."""
        step = StepSpec("rollback", "Roll back llama-70b", "http.request", {}, Risk.REVERSIBLE, undo="auto")
        check = StepSpec("check", "Are errors up?", "promql.assert", {}, Risk.READ)
        self.do(
            cmd.StartRun,
            run="r1",
            runbook="rollback",
            title="Roll back a model deploy",
            source_digest="0" * 64,
            target="deploy/llama-70b",
            steps=(check, step),
        )
        self.after(seconds=2).receipt(ev.StepSucceeded("r1", "check", "0.31, expected > 0.01"))
        plan = {"lines": ["r41 becomes r40"], "undo": "back to r41"}
        self.after(seconds=1).receipt(ev.StepPlanned("r1", "rollback", plan, "d1"))
        self.after(seconds=40).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
        self.after(seconds=3).receipt(ev.StepApplied("r1", "rollback", 1))
        self.after(seconds=70).receipt(ev.StepSucceeded("r1", "rollback", "0.002, expected < 0.01, held for 15 s"))

    def night(self) -> None:
        """INC-1 from the first alert to the draft of its postmortem."""
        self.alerts(3, new=3, detected_at=self.now - timedelta(seconds=40))
        self.after(seconds=2).receipt(ev.ChannelOpened("C0INC1", "inc-1-llama-70b"))
        self.after(seconds=4).receipt(evidence())
        self.after(seconds=1).receipt(ev.PageAccepted("PagerDuty", 1, "https://example.pagerduty.com/incidents/Q1"))
        for firing in (4, 6, 9):
            self.after(seconds=20).alerts(firing, new=2)
        self.after(seconds=50).do(cmd.Acknowledge)
        self.after(seconds=20).do(cmd.AssignRole, role=ev.Role.COMMANDER, user=MAYA.id)
        self.after(seconds=30).do(
            cmd.StateImpact,
            by=JONAS,
            text="One in three chats on llama-70b ends in an error.",
            started_at=self.now - timedelta(minutes=4),
        )
        self.rollback()
        self.after(seconds=5).do(cmd.PostUpdate, by=JONAS, text="llama-70b is being rolled back; errors are falling.")
        self.after(minutes=1).do(cmd.Mitigate, text="rolled back to r40")
        self.after(minutes=3).alerts(0, resolved=9)
        self.after(minutes=2).do(cmd.Resolve, reason="r40 holds, errors are below 1 in 500.")
        self.draft()

    def draft(self, incident: str = "i1") -> str:
        """What the courier does when an incident is over."""
        told = self.journal.incident(incident)
        assert told is not None
        name = self.shelf.write(told, draft(told, self.journal.entries(incident), self.now, ADDRESS))
        self.receipt(ev.PostmortemDrafted(name), incident=incident)
        return name

    def get(self, path: str) -> str:
        """The page's HTML; it must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text
