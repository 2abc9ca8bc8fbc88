"""What the bot sees with, put together as it is configured: Prometheus, its memory, logs, and who is asked directly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from bot import health
from bot.config import Config
from bot.contracts import Courier, Tail
from bot.desk import Desk
from bot.health import logs, proof, rollouts
from bot.health.changes import Courier as ChangesCourier
from bot.health.chart import Mark
from bot.health.courier import Courier as HealthCourier
from bot.health.courier import Keeping
from bot.health.freeze import Frozen, Piece, freeze
from bot.health.probe import observations, waiting, weighed
from bot.health.series import Recorder
from bot.incident.change import Change
from bot.integrations import nvml
from bot.integrations.kubernetes import PreviousLog, Target
from bot.integrations.kubernetes.readiness import pods_ready
from bot.integrations.loki import Loki
from bot.integrations.probe import Probes
from bot.journal import Journal, evidence

PROOF_BUDGET_S: Final = 8.0
"""Below the 10 s that a courier's call may last: the judgement comes after."""


def telemetry_of(
    config: Config, yardsticks: health.Settings | None = None, budget: float = 10.0
) -> health.Telemetry | None:
    """The telemetry, when a Prometheus is configured; by the yardsticks of the health report where none are given."""
    settings = config.prometheus
    if settings is None:
        return None
    return health.Telemetry(
        settings.url,
        timeout=settings.timeout,
        budget=budget,
        headers=settings.headers,
        settings=yardsticks or config.health,
    )


def logs_of(config: Config) -> logs.Logs:
    """What reads the logs of containers that restart: Loki, and else the clusters themselves."""
    tails: list[Tail] = [Loki(config.loki, logs.ANY, logs.LINES)] if config.loki else []
    clusters = [target for target in config.targets["kubernetes"].values() if isinstance(target, Target)]
    tails += [PreviousLog.over(clusters, logs.BUDGET_S)] if clusters else []
    return logs.Logs(tails)


def health_report(
    config: Config, telemetry: health.Telemetry, scope: health.Scope, now: datetime, changes: Sequence[Change] = ()
) -> health.Report:
    """The health report, with the second opinion of whoever is configured to be asked directly."""
    probes = Probes(config.probes, pods_ready(config.targets["kubernetes"]))
    direct = probes.begin(scope.model or None, telemetry.budget) if scope.whole or scope.model else None
    gpus = nvml.begin() if config.nvml.enabled else None
    report = health.survey(telemetry, scope, now, changes=changes, objectives=config.rules.kept, logs=logs_of(config))
    answers = direct.finish(waiting(report)) if direct else ()
    return weighed(report, observations((*answers, *(gpus() if gpus else ()))))


def prover_of(config: Config) -> proof.Prover | None:
    """What says whether it is over, when a Prometheus is configured."""
    telemetry = telemetry_of(config, replace(config.health, window=config.proof.quiet), PROOF_BUDGET_S)
    return proof.Prover(telemetry, config.proof) if telemetry else None


def recorder_of(config: Config) -> Recorder | None:
    """Prometheus' memory, when one is configured."""
    settings = config.prometheus
    if settings is None:
        return None
    return Recorder(settings.url, config.health, timeout=settings.timeout, headers=settings.headers)


@dataclass(frozen=True, slots=True)
class Sight:
    """The telemetry in the hands of a running server, which also knows what it was told of changes."""

    config: Config
    telemetry: health.Telemetry
    recorder: Recorder
    journal: Journal
    desk: Desk

    def survey(self, scope: health.Scope) -> health.Report:
        """The health report of the fleet, or of one model, node or GPU."""
        return health_report(self.config, self.telemetry, scope, self.journal.clock(), self.desk.suspects(scope.model))

    def survey_of(self, word: str) -> health.Report:
        """The health report of what a person named: a model, a node, a GPU, or nothing for the fleet."""
        return self.survey(self.telemetry.scope(word))

    def rollouts(self, model: str, now: datetime) -> rollouts.Found:
        """What Kubernetes shows to have been rolled out of late, of a model or of everything."""
        return rollouts.find(self.telemetry, model, now, self.config.policy.changes_within)

    def couriers(self, runbooks: frozenset[str]) -> Mapping[str, Courier]:
        """Who brings into an incident what is seen. `runbooks` are the ids at hand."""
        keeping = Keeping(self.journal.entry, self._freeze, self._keep)
        couriers: dict[str, Courier] = {
            "health": HealthCourier(self.survey, runbooks, keeping),
            "changes": ChangesCourier(self.rollouts),
        }
        prover = prover_of(self.config)
        if prover:
            # Recovery is waited for by threads of its own: whoever wants to resolve waits for nobody's.
            couriers |= dict.fromkeys(("proof", "recovery"), proof.Courier(prover.prove))
        return couriers

    def _freeze(self, report: health.Report, marks: Sequence[Mark], changes: Sequence[Change]) -> Frozen:
        return freeze(self.recorder, report, marks, self.config.health.sla_seconds, changes)

    def _keep(self, incident: str, name: str, pieces: Sequence[Piece]) -> Mapping[str, str]:
        """Writes the pieces down; what stands there of an earlier try is what counts."""
        parts = [evidence.Part(piece.name, piece.kind, piece.query, piece.content) for piece in pieces]
        write = partial(evidence.keep, incident_id=incident, evidence_id=name, parts=parts)
        return self.journal.write(lambda txn: write(txn.direct, txn.workspace, now=txn.now), urgent=False).result()


def sight_of(config: Config, journal: Journal, desk: Desk) -> Sight | None:
    """The eyes of a server, when a Prometheus is configured."""
    telemetry, recorder = telemetry_of(config), recorder_of(config)
    return Sight(config, telemetry, recorder, journal, desk) if telemetry and recorder else None
