"""The settings that the core's decisions depend on, as plain numbers."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.incident.brake import Begun, Brake, Cap, Caps
from bot.incident.events import Severity


@dataclass(frozen=True, slots=True)
class Policy:
    """Times are measured on the journal's clock.

    `ack_within`: unacknowledged longer than this, the next person is called, and again after each further span, at
    most `max_escalations` times. `snooze`: how long alerts may burn on after a person resolved under fire.
    `reopen_within`: a re-fire this soon after the resolve reopens instead of opening a new incident. `update_every`:
    stakeholders hear something this often, by severity; no entry, no reminder. `quiet`: unacknowledged incidents of
    `self_resolving` severities resolve themselves after their alerts have been quiet this long. `pages`: severities
    that wake people. `pagers`: who is asked to wake them, by name and in this order; each is asked when nobody before
    it has accepted the page for `accept_within`. `self_escalating`: those of them that call the next person by a policy
    of their own, so that the bot does not. `announce_every`: an incident that opens this soon after another is
    shown in that one's announcement instead of making its own. `fallback_every`: responders are reminded this often of
    what a runbook has put in force for a time only.
    `proof_over`: how long the telemetry must have been quiet for a resolve to be proven; None where it is not, and
    `no_proof` says why.
    A proof counts for `proof_lasts`; one that does not come within `proof_within` of the question is a doubt.
    `changes_within`: what was changed this long before an incident is put on its card; of other `environments` than
    these it is not, unless there are none. `changes_kept`: how long the ledger remembers what pipelines told.
    `caps`: how often a kind of step may be carried out on all incidents together; `begun` are the latest steps.
    While somebody has stopped all runbooks, `brake` tells who.
    While the database has failed over and nobody has confirmed, automation is `frozen`; a preview from before
    `previews_from` counts no more (see `failover`).
    """

    ack_within: timedelta = timedelta(minutes=5)
    max_escalations: int = 3
    snooze: timedelta = timedelta(minutes=30)
    reopen_within: timedelta = timedelta(minutes=30)
    update_every: tuple[tuple[Severity, timedelta], ...] = (
        (Severity.SEV1, timedelta(minutes=30)),
        (Severity.SEV2, timedelta(minutes=60)),
    )
    quiet: timedelta = timedelta(minutes=10)
    self_resolving: frozenset[Severity] = frozenset({Severity.SEV3, Severity.SEV4})
    pages: frozenset[Severity] = frozenset({Severity.SEV1, Severity.SEV2, Severity.SEV3})
    pagers: tuple[str, ...] = ()
    self_escalating: frozenset[str] = frozenset()
    accept_within: timedelta = timedelta(seconds=60)
    announce_every: timedelta = timedelta(seconds=30)
    fallback_every: timedelta = timedelta(minutes=15)
    changes_within: timedelta = timedelta(hours=2)
    changes_kept: timedelta = timedelta(days=90)
    environments: frozenset[str] = frozenset()
    proof_over: timedelta | None = None
    no_proof: str = "no Prometheus is connected"
    proof_lasts: timedelta = timedelta(minutes=2)
    proof_within: timedelta = timedelta(seconds=20)
    caps: Caps = field(default_factory=lambda: {"k8s.drain": Cap(1, timedelta(hours=1))})
    frozen: bool = False
    previews_from: datetime | None = None
    brake: Brake | None = None
    begun: tuple[Begun, ...] = ()

    def update_span(self, severity: Severity) -> timedelta | None:
        """How long stakeholders may go without a word at this severity; None when nobody is reminded."""
        return dict(self.update_every).get(severity)
