"""What may happen to incidents, in any order: alerts, people, runbooks, couriers, time and restarts."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.change import Change
from bot.incident.people import BOT, Actor, ActorKind, Right
from bot.incident.run import StepRun
from bot.incident.runs import all_of
from bot.intake.alerts import Delivery, Message
from bot.journal.ids import new_id
from bot.journal.servers import LEASE
from bot.outbox import GIVE_UP_AFTER, WORRY_AFTER
from tests.core.case import act, ask, check
from tests.model.both import TICK, Both, Plainly, named
from tests.model.plain import Order, Plain, Words
from tests.model.plain_run import LEASE as LOAN
from tests.model.plain_run import PlainRun

RESPONDER: Final = Actor(ActorKind.MEMBER, "U0MAYA", "Maya", frozenset({Right.RESPOND}))
MEMBER: Final = Actor(ActorKind.MEMBER, "U0SAM", "Sam")
GUEST: Final = Actor(ActorKind.GUEST, "U0GUEST", "Gus")
STRANGER: Final = Actor(ActorKind.STRANGER, "U0ELSE", "Else")
STEPS: Final = (check(), act("act"), ask("look"))
ALL_THERE_IS_TO_UNDO: Final = all_of([StepRun(STEPS[1])])
ALERTS: Final = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
"""By fingerprint: its group."""
SEVERITIES: Final = st.sampled_from(list(ev.Severity))
TEXTS: Final = st.sampled_from(["restarted the gateway", "users of chat see errors", "", "  "])
WHICH: Final = st.integers(0, 2)
PEOPLE: Final = st.sampled_from([RESPONDER] * 7 + [MEMBER, GUEST, STRANGER])
EVIDENCE: Final = st.sampled_from(["EV-AAAAAAAA", "EV-BBBBBBBB"])
STEP_NAMES: Final = st.sampled_from(["act", "check", "look"])
SPANS: Final = st.sampled_from([timedelta(seconds=s) for s in (1, 30, 46, 60, 150, 301, 601, 1799, 1801, 3600)])
MOODS: Final = st.sampled_from(["takes it"] * 3 + ["fails", "refuses", "dies"])

REPORTS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "planned": (ev.StepPlanned, ("plan", "digest")),
    "applied": (ev.StepApplied, ("attempt", "lease_until")),
    "begun": (ev.StepApplied, ("attempt", "lease_until", "lasting")),
    "progressed": (ev.StepProgressed, ("text",)),
    "completed": (ev.StepCompleted, ()),
    "interrupted": (ev.StepInterrupted, ("text",)),
    "succeeded": (ev.StepSucceeded, ("text",)),
    "failed": (ev.StepFailed, ("text",)),
    "undone": (ev.StepUndone, ()),
    "undo_failed": (ev.UndoFailed, ("text",)),
    "undo_unclear": (ev.UndoFailed, ("text", "unclear")),
}

HAS_INCIDENTS: Final = precondition(lambda self: self.world.incidents)
HAS_RUNS: Final = precondition(lambda self: any(plain.runs for plain in self.world.incidents))


class Rules(Both):
    """One workspace, and everything that may happen in it."""

    @initialize(severity=SEVERITIES, declared=st.booleans(), proves=st.booleans())
    def something_is_wrong(self, severity: ev.Severity, declared: bool, proves: bool) -> None:
        if proves:
            self.world.proves, self.policy = True, replace(self.policy, proof_over=timedelta(minutes=5))
            self.the_server_starts_anew()
        if declared:
            self.somebody_declares(MEMBER, severity, "chat answers 500", "")
        else:
            self.alerts_fire({"a1"}, severity, again=False, drains=True)

    # Time and machines

    @rule(span=SPANS, strikes=st.booleans())
    def time_passes(self, span: timedelta, strikes: bool) -> None:
        self.clock.now += span
        if strikes:
            self.the_clock_strikes()

    @precondition(lambda self: any(incident.next_due_at() for incident in self.world.incidents))
    @rule(which=WHICH, early=st.booleans(), strikes=st.booleans())
    def time_passes_to_a_deadline(self, which: int, early: bool, strikes: bool) -> None:
        ahead = sorted(at for one in self.world.incidents if (at := one.next_due_at()) and at > self.clock.now)
        if ahead:
            self.clock.now = ahead[which % len(ahead)] - (timedelta(microseconds=1) if early else timedelta())
        if strikes:
            self.the_clock_strikes()

    @rule()
    def the_clock_strikes(self) -> None:
        now = self.clock.now
        due = {one.number: at for one in self.world.incidents if (at := one.next_due_at()) and at <= now}
        found = self.journal.due(now)
        assert sorted(due) == sorted(self.number(incident_id) for incident_id in found)
        for incident_id in found:
            plain = self.world.incidents[self.number(incident_id) - 1]
            outcome = self.desk.check_timers(incident_id).result()
            expected = self.world.with_changes(plain, now, plain.time_has_passed(now))
            assert outcome is not None
            told = named(outcome.entries)
            assert Counter(told) == Counter(expected), (told, expected)
            plain.story += told  # what falls due in the same moment has no order

    @rule()
    def the_server_starts_anew(self) -> None:
        self.journal.close()
        self.begin()

    # Alerts

    @rule(
        names=st.sets(st.sampled_from(list(ALERTS)), min_size=1),
        severity=SEVERITIES,
        again=st.booleans(),
        drains=st.booleans(),
    )
    def alerts_fire(self, names: set[str], severity: ev.Severity, again: bool, drains: bool) -> None:
        now = self.tick()
        deliveries = []
        for name in sorted(names):
            known = self.world.alerts.get(name)
            began = known.began if known and (again or known.fires) else now
            self.world.fires(name, ALERTS[name], severity.value, began, now)
            deliveries.append(self.delivery(name, severity, began, firing=True))
        self.desk.receive([Message("alertmanager", tuple(deliveries))]).result()
        if drains:
            self.news_are_worked_in()

    @precondition(lambda self: self.world.alerts)
    @rule(which=st.integers(0, 3), of_the_episode_before=st.booleans(), drains=st.booleans())
    def an_alert_ends(self, which: int, of_the_episode_before: bool, drains: bool) -> None:
        now = self.tick()
        name = list(self.world.alerts)[which % len(self.world.alerts)]
        known = self.world.alerts[name]
        before = known.began_before if of_the_episode_before else None
        began = before or known.began
        self.world.ends(name, began, now)
        ended = self.delivery(name, ev.Severity(known.severity), began, firing=False)
        self.desk.receive([Message("alertmanager", (ended,))]).result()
        if drains:
            self.news_are_worked_in()

    @rule()
    def news_are_worked_in(self) -> None:
        now = self.clock.now
        assert set(self.journal.waiting_groups()) == set(self.world.news)
        for group in sorted(self.world.news):
            outcome = self.desk.drain(group).result()
            plain, expected = self.world.drains(group, now)
            told = named(outcome.entries) if outcome else []
            assert told == expected, (told, expected)
            if outcome is not None and plain is not None:
                self.meets(outcome.incident, plain)

    @rule(
        name=st.sampled_from(list(ALERTS)),
        severity=SEVERITIES,
        span=st.sampled_from([timedelta(minutes=29), timedelta(minutes=30), timedelta(minutes=31)]),
        how=st.sampled_from(["resolved", "under fire", "cancelled"]),
        strikes=st.booleans(),
    )
    def a_group_returns(self, name: str, severity: ev.Severity, span: timedelta, how: str, strikes: bool) -> None:
        """An alert fires, its incident is ended by a person, and some time later it fires again."""
        self.alerts_fire({name}, severity, again=False, drains=True)
        plain = self.world.latest_in(ALERTS[name])
        if plain is None or not plain.live:
            return
        if how != "under fire":
            for other in [one for one, alert in self.world.alerts.items() if alert.group == plain.group]:
                self.an_alert_ends(list(self.world.alerts).index(other), of_the_episode_before=False, drains=False)
            self.news_are_worked_in()
        if how == "cancelled":
            self.says(plain, RESPONDER, cmd.Cancel, lambda one, at: one.is_cancelled(at, False), reason="a drill")
        else:
            reason, sure = "rolled back", how == "under fire"
            plainly: Plainly = lambda one, at: one.is_resolved(at, False, reason, sure, True)  # noqa: E731
            despite = {"despite_firing": sure, "despite_doubt": True}
            self.says(plain, RESPONDER, cmd.Resolve, plainly, reason=reason, **despite)
        self.clock.now += span - TICK  # the alert's own moment is a tick later
        if strikes:
            self.the_clock_strikes()
        self.alerts_fire({name}, severity, again=False, drains=True)

    # Changes

    @rule(twice=st.booleans())
    def a_pipeline_tells_of_a_change(self, twice: bool) -> None:
        change = Change(f"run-{len(self.world.changes)}", "change", self.tick(), service="chat", model="llama-70b")
        new, told = self.desk.note_change(change).result()
        heard = self.world.is_changed(change.at)
        assert new
        assert sorted(told) == sorted(f"INC-{plain.number}" for plain in heard)
        if twice:
            assert self.desk.note_change(change).result() == (False, told)

    # People

    @rule(who=PEOPLE, severity=SEVERITIES, title=TEXTS, impact=st.sampled_from(["", "chat is down"]))
    def somebody_declares(self, who: Actor, severity: ev.Severity, title: str, impact: str) -> None:
        if len(self.world.incidents) > 4:
            return
        fields: dict[str, Any] = {"title": title, "severity": severity, "impact": impact}
        command = self.command(cmd.Declare, who, new_id(), "slack", **fields)
        if who.kind is not ActorKind.MEMBER or not title.strip():
            assert self.hear(command) is None
            return
        plain, expected = self.world.declares(command.at, severity.value, title, impact)
        outcome = self.desk.handle(command)
        assert named(outcome.entries) == expected
        self.world.counts(command.key, expected, plain)
        self.meets(outcome.incident, plain)

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, there=st.booleans())
    def somebody_acknowledges(self, which: int, who: Actor, there: bool) -> None:
        self.says(
            self.one(which),
            who,
            cmd.Acknowledge,
            lambda plain, at: plain.is_acknowledged(at, by_pager=there),
            there=there,
        )

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, text=TEXTS)
    def somebody_mitigates(self, which: int, who: Actor, text: str) -> None:
        self.says(self.one(which), who, cmd.Mitigate, lambda plain, at: plain.is_mitigated(at, False), text=text)

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, reason=TEXTS, sure=st.booleans(), how=st.sampled_from(["", "", "unproven", "there"]))
    def somebody_resolves(self, which: int, who: Actor, reason: str, sure: bool, how: str) -> None:
        there, unproven = how == "there", how == "unproven"
        plainly: Plainly = lambda plain, at: plain.is_resolved(at, there, reason, sure, unproven)  # noqa: E731
        fields: dict[str, Any] = {"reason": reason, "despite_firing": sure, "despite_fallback": there}
        fields["despite_doubt"] = unproven
        self.says(self.one(which), who, cmd.Resolve, plainly, there=there, **fields)

    @precondition(lambda self: self.world.proves and self.world.incidents)
    @rule(which=WHICH, proven=st.sampled_from([True, True, False]), answers=st.sampled_from([True, True, False]))
    def the_telemetry_speaks(self, which: int, proven: bool, answers: bool) -> None:
        """In answer to the latest wish, however late, or by itself."""
        plain = self.one(which)
        incident = self.journal.incident(self.ids[plain.number - 1])
        ask = incident.ask.id if answers and incident is not None and incident.ask is not None else ""
        event = (ev.HealthProven if proven else ev.HealthDoubted)(ask, "errors 0.1%", {})
        plainly: Plainly = lambda plain, at: plain.telemetry_says(at, proven, bool(ask))  # noqa: E731
        self.says(plain, BOT, cmd.RecordReceipt, plainly, events=(event,))

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE)
    def somebody_cancels(self, which: int, who: Actor) -> None:
        self.says(self.one(which), who, cmd.Cancel, lambda plain, at: plain.is_cancelled(at, False), reason="a drill")

    @HAS_INCIDENTS
    @rule(which=WHICH)
    def somebody_reopens_at_the_pager(self, which: int) -> None:
        plainly: Plainly = lambda plain, at: self.world.with_changes(  # noqa: E731
            plain, self.clock.now, plain.returns_at_the_pager(at)
        )
        self.says(self.one(which), RESPONDER, cmd.Reopen, plainly, there=True)

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, severity=SEVERITIES)
    def somebody_changes_the_severity(self, which: int, who: Actor, severity: ev.Severity) -> None:
        plainly: Plainly = lambda plain, at: plain.severity_becomes(at, severity.value)  # noqa: E731
        self.says(self.one(which), who, cmd.ChangeSeverity, plainly, severity=severity)

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, role=st.sampled_from(list(ev.Role)), user=st.sampled_from(["U0MAYA", "U0JONAS"]))
    def somebody_takes_a_seat(self, which: int, who: Actor, role: ev.Role, user: str) -> None:
        self.says(
            self.one(which), who, cmd.AssignRole, lambda plain, at: plain.seat_goes_to(role, user), role=role, user=user
        )

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, text=TEXTS, what=st.sampled_from(["note", "impact", "update"]))
    def somebody_writes(self, which: int, who: Actor, text: str, what: str) -> None:
        match what:
            case "note":
                self.says(
                    self.one(which), who, cmd.AddNote, lambda plain, _: plain.is_noted(text), members=True, text=text
                )
            case "impact":
                self.says(self.one(which), who, cmd.StateImpact, lambda plain, _: plain.impact_is(text), text=text)
            case _:
                self.says(
                    self.one(which), who, cmd.PostUpdate, lambda plain, at: plain.stakeholders_hear(at, text), text=text
                )

    @HAS_INCIDENTS
    @rule(which=WHICH, evidence=EVIDENCE)
    def the_telemetry_is_looked_at(self, which: int, evidence: str) -> None:
        plain = self.one(which)
        looked = ev.EvidenceCollected("OUTAGE", "all fail", "a deploy", "", {"cause_id": "recent-change"}, evidence)
        self.says(plain, BOT, cmd.RecordReceipt, lambda plain, _: plain.is_looked_at(evidence), events=(looked,))

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE, evidence=EVIDENCE, right=st.booleans(), text=TEXTS)
    def somebody_rates_a_verdict(self, which: int, who: Actor, evidence: str, right: bool, text: str) -> None:
        plainly: Plainly = lambda plain, _: plain.verdict_is_rated(who.id, evidence, right, text)  # noqa: E731
        plain = self.one(which)
        self.says(plain, who, cmd.RateVerdict, plainly, members=True, evidence=evidence, right=right, text=text)

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 1_000))
    def something_said_before_arrives_again(self, which: int) -> None:
        """It counts once; what was refused, or changed nothing, is decided anew, with the time at which it was said."""
        sent = self.sent[which % len(self.sent)]
        self.clock.now += TICK
        self.carry_out(sent)

    @staticmethod
    def delivery(name: str, severity: ev.Severity, began: datetime, *, firing: bool) -> Delivery:
        return Delivery(
            fingerprint=name,
            firing=firing,
            name="LLMErrorRatioHigh",
            title=f"{name} burns",
            severity=severity,
            service="chat",
            model="llama-70b",
            runbook="",
            labels={"alert": name},
            starts_at=began,
            ends_at=None,
            group_key=ALERTS[name],
        )

    # Runbooks

    @HAS_INCIDENTS
    @rule(which=WHICH, who=PEOPLE)
    def somebody_starts_a_run(self, which: int, who: Actor) -> None:
        run = f"run-{self.keys}"
        fields: dict[str, Any] = {
            "run": run,
            "runbook": "roll-back",
            "title": "Roll back",
            "source_digest": "0",
            "target": "llama-70b",
        }
        self.says(self.one(which), who, cmd.StartRun, lambda plain, _: plain.starts_run(run), **fields, steps=STEPS)

    @HAS_RUNS
    @rule(which=WHICH, who=PEOPLE)
    def somebody_stops_a_run(self, which: int, who: Actor) -> None:
        plain, run = self.a_run(which)
        self.says(plain, who, cmd.StopRun, lambda plain, _: plain.runs[run].stop(), run=run)

    @HAS_RUNS
    @rule(which=WHICH, who=PEOPLE)
    def somebody_undoes_all_of_a_run(self, which: int, who: Actor) -> None:
        plain, run = self.a_run(which)
        plainly: Plainly = lambda plain, at: plain.run_moves(run, at, plain.runs[run].undo_all())  # noqa: E731
        self.says(plain, who, cmd.UndoRun, plainly, run=run, shown=ALL_THERE_IS_TO_UNDO)

    @HAS_RUNS
    @rule(which=WHICH, who=PEOPLE, step=STEP_NAMES, of_an_old_preview=st.sampled_from([False, False, True]))
    def somebody_approves_a_step(self, which: int, who: Actor, step: str, *, of_an_old_preview: bool) -> None:
        plain, run = self.a_run(which)
        digest = "old" if of_an_old_preview else plain.runs[run].steps[step].preview
        plainly: Plainly = lambda plain, at: plain.run_moves(run, at, plain.runs[run].approve(step, at, digest))  # noqa: E731
        self.says(plain, who, cmd.ApproveStep, plainly, run=run, step=step, digest=digest)

    @HAS_RUNS
    @rule(which=WHICH, who=PEOPLE, step=STEP_NAMES, what=st.sampled_from(["skip", "retry", "undo", "renew"]))
    def somebody_steers_a_step(self, which: int, who: Actor, step: str, what: str) -> None:
        plain, run = self.a_run(which)
        kinds = {"skip": cmd.SkipStep, "retry": cmd.RetryStep, "undo": cmd.UndoStep, "renew": cmd.RenewLease}

        def plainly(plain: Plain, at: datetime) -> Words:
            moved = plain.runs[run]
            return plain.run_moves(run, at, moved.undo(step) if what == "undo" else getattr(moved, what)(step, at))

        self.says(plain, who, kinds[what], plainly, run=run, step=step)

    @HAS_RUNS
    @rule(which=WHICH, good=st.sampled_from([True, True, True, False]), steps=st.integers(1, 4))
    def a_run_takes_its_course(self, which: int, good: bool, steps: int) -> None:
        """People and couriers do what comes next, for some steps."""
        for _ in range(steps):
            plain, run = self.a_run(which)
            step = plain.runs[run].at_hand()
            if step is None or step.status not in ("asking", "failed", "interrupted"):
                self.is_reported(plain, run, *plain.runs[run].next_report(good))
            elif step.status == "asking":
                self.somebody_approves_a_step(which, RESPONDER, step.name, of_an_old_preview=False)
            else:
                self.somebody_steers_a_step(which, RESPONDER, step.name, "retry" if good else "undo")

    @HAS_RUNS
    @rule(which=WHICH, report=st.sampled_from(sorted(REPORTS)))
    def a_courier_reports_late(self, which: int, report: str) -> None:
        """Something of the act that is news, or was once."""
        plain, run = self.a_run(which)
        never_begun = plain.runs[run].steps["act"].status == "waiting"
        if not (never_begun and report in ("succeeded", "failed")):
            self.is_reported(plain, run, "act", report)

    def is_reported(self, plain: Plain, run: str, step: str, report: str) -> None:
        preview = f"preview {self.keys}"
        kind, fields = REPORTS[report]
        event = kind(run, step, **{name: self.reported(name, preview, plain.runs[run], step) for name in fields})

        def plainly(plain: Plain, at: datetime) -> Words:
            return plain.run_moves(run, at, plain.runs[run].hears(step, report, at, preview))

        self.says(plain, BOT, cmd.RecordReceipt, plainly, events=(event,))

    def a_run(self, which: int) -> tuple[Plain, str]:
        runs = [(plain, run) for plain in self.world.incidents for run in plain.runs]
        return runs[-1 - which % len(runs)]

    def reported(self, name: str, preview: str, run: PlainRun, step: str) -> Any:
        match name:
            case "plan":
                return {"lines": [preview]}
            case "digest":
                return preview
            case "attempt":
                return run.steps[step].attempt
            case "lease_until":
                return self.clock.now + TICK + LOAN
            case "lasting" | "unclear":
                return True
            case _:
                return "0.004 < 0.01"

    # Couriers

    @rule(courier=st.sampled_from(["pager", "pager", "pager sms", "slack"]), mood=MOODS)
    def a_courier_is_given_what_is_ready(self, courier: str, mood: str) -> None:
        now = self.clock.now
        ready = [job for job in self.outbox.ready() if job.effect.carrier() == courier]
        # Which of several lanes comes first is all one; a story told twice has to go the same way.
        job = min(ready, key=lambda job: (self.number(job.incident), job.effect.queue()), default=None)
        if job is None:
            return
        if mood == "dies":
            self.journal.write(lambda txn: txn.claim(job.id, txn.now + LEASE)).result()
            return
        self.couriers[courier].mood = mood
        if courier == "slack":
            self.couriers[courier].mood = "takes it"
            self.outbox.deliver(job.id)
            return
        plain = self.world.incidents[self.number(job.incident) - 1]
        order = next(one for one in plain.orders if one.waits and one.pager == self.couriers[courier].fallback)
        assert order.generation == getattr(job.effect, "generation")  # noqa: B009 - every page effect has one
        self.outbox.deliver(job.id)
        plain.story += self.comes_of_it(plain, order, mood, now)

    @staticmethod
    def comes_of_it(plain: Plain, order: Order, mood: str, now: datetime) -> Words:
        """A page is tried for a day; people hear once that it waits, and when it is given up."""
        if mood == "takes it":
            return plain.pager_takes(order)
        if mood == "refuses" or now - order.at > GIVE_UP_AFTER:
            return plain.pager_refuses(order)
        if now - order.at > WORRY_AFTER and not order.worried:
            return plain.pager_is_late(order)
        return []
