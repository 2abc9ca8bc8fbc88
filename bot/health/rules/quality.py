"""Alerts about what a model answers and what it costs: finish reasons, drift, canary prompts, tokens and spend."""

from collections.abc import Iterator, Sequence
from typing import Final

from bot.health.rules import signals as s
from bot.health.rules.engines import Engine
from bot.health.rules.limits import Limits
from bot.health.rules.proofs import MODEL, OWNER, bench, growing, steady
from bot.health.rules.rule import Alert, Case, Group, Record, series

FEWEST_ANSWERS: Final = 50
"""In a quarter of an hour; a share of fewer answers says nothing."""
DRIFT_EVERY_S: Final = 86_400
CANARY_STALE_S: Final = 3_600
"""At the least; a canary that runs more seldom may miss one round."""
KS_LIMIT: Final = 0.1
"""Of the statistic, where no threshold is exported beside it. A p-value would call any large sample drifted."""
CUT_OFF: Final = 0.1
ABORTED: Final = 0.2
REPEATED: Final = 0.01
CANARY: Final = 0.8
FEWEST_TOKENS: Final = 100
"""A second; what one or two conversations write. Many times a quiet night's is no spike below it: at 10 USD a million
tokens it costs less than 4 USD an hour."""
LEAST_SPEND: Final = 10
"""USD an hour, 240 a day. What grows below it can wait for the budget's own alert or for the morning."""
DAY: Final = 1440
_OF: Final = {**OWNER, "model": MODEL}
_SEEN: Final = {**OWNER, "model_name": MODEL}
_ENOUGH: Final = f"sum without (finished_reason) ({s.FINISHED}) * 900 >= {FEWEST_ANSWERS}"


def quality(engines: Sequence[Engine], limits: Limits) -> Group:
    """From the engines themselves."""
    finished = [engine for engine in engines if engine.finished]
    alerts = [*_tokens(engines, limits), *_corrupted(engines)]
    if finished:
        alerts += [_cut_off(finished), _aborted(finished)]
    if any(engine.id == "vllm" for engine in finished):
        alerts.append(_repeated([engine for engine in finished if engine.id == "vllm"]))
    return Group("fixfirst-quality", tuple(alerts), (s.GROUP,), tested_every="5m")


def _share(reason: str, offset: str = "") -> str:
    """Share of the answers that ended for this reason; `reason` is a regular expression."""
    part = f'{s.FINISHED}{{finished_reason=~"{reason}"}}{offset}'
    return f"sum without (finished_reason) ({part}) / sum without (finished_reason) ({s.FINISHED}{offset})"


def _ended(engine: Engine, reason: str, stop: str, other: str) -> dict[str, str]:
    one = bench(engine)
    return {
        **one.counter(engine.finished, stop, finished_reason="stop"),
        **one.counter(engine.finished, other, finished_reason=reason),
    }


def _shares(engine: Engine, reason: str, many: float, few: float) -> Iterator[Case]:
    for share, fires in ((many, (bench(engine).seen,)), (few, ())):
        ended = _ended(engine, reason, growing(100 - share), growing(share))
        yield Case(f"{engine.title}: {share:g} of 100 end by {reason}", ended, fires, "45m")


def _cut_off(engines: Sequence[Engine]) -> Alert:
    change = DAY + 60

    def cases(engine: Engine) -> Iterator[Case]:
        end = change + 150
        shifted = f"0+5x{change} {5 * change + 60}+60x{end - change}"
        yield Case(
            f"{engine.title}: 5 in 100 were cut off yesterday, now it is 40",
            _ended(engine, "length", growing(95, end), shifted),
            (bench(engine).seen,),
            f"{end}m",
        )
        as_ever = _ended(engine, "length", growing(80, end), growing(20, end))
        yield Case(f"{engine.title}: 20 in 100 are cut off, as yesterday", as_ever, at=f"{end}m")

    now = _share("length")
    return Alert(
        name="ModelFinishReasonShift",
        expr=f"({now} > {CUT_OFF} and {now} > 2 * ({_share('length', ' offset 1d')})) and {_ENOUGH}",
        severity="warning",
        wait="15m",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of answers are cut off for their length",
        description="Twice as many as at this time yesterday: answers ramble or do not find their end. Compare with "
        "a canary "
        "prompt, then look at the last change of model, template or limit.",
        runbook="rollback-model-deploy",
        cases=tuple(case for engine in engines for case in cases(engine)),
    )


def _aborted(engines: Sequence[Engine]) -> Alert:
    return Alert(
        name="ModelAbortShareHigh",
        expr=f"{_share('abort|cancelled')} > {ABORTED} and {_ENOUGH}",
        severity="warning",
        wait="15m",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of answers are aborted",
        description="Clients hang up before the end, as they do when answers are slow or bad.",
        runbook="rollback-model-deploy",
        cases=tuple(
            case
            for engine in engines
            for case in _shares(engine, "abort" if engine.id == "vllm" else "cancelled", 40, 5)
        ),
    )


def _repeated(engines: Sequence[Engine]) -> Alert:
    return Alert(
        name="ModelRepetition",
        expr=f"{_share('repetition')} > {REPEATED} and {_ENOUGH}",
        severity="warning",
        wait="15m",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of answers repeat themselves",
        description="The engine ends answers that go round in circles: a wrong template, sampling or quantisation.",
        runbook="rollback-model-deploy",
        cases=tuple(case for engine in engines for case in _shares(engine, "repetition", 4, 0.2)),
    )


def _corrupted(engines: Sequence[Engine]) -> Iterator[Alert]:
    for engine in engines:
        if not engine.corrupted:
            continue
        one = bench(engine)
        yield Alert(
            name="ModelCorruptedOutput",
            expr=f"{engine.by_model('sum', f'increase({engine.series(engine.corrupted)}[15m])')} > 0",
            severity="critical",
            wait="0s",
            summary="{{ $labels.model_name }} computed {{ $value | humanize }} answers with NaN in them",
            description="Its numbers are broken: weights, quantisation or a GPU. What users get is noise.",
            runbook="rollback-model-deploy",
            cases=(
                Case("an answer was corrupted", one.counter(engine.corrupted, "0x20 1x100"), (_SEEN,)),
                Case("one was, days ago", one.counter(engine.corrupted, steady(7))),
            ),
        )


def _tokens(engines: Sequence[Engine], limits: Limits) -> Iterator[Alert]:
    known = [engine for engine in engines if engine.tokens]
    if not known:
        return
    times = limits.warn("M2")
    end = DAY // 2

    def tokens(engine: Engine, after: float, before: float = FEWEST_TOKENS) -> dict[str, str]:
        """`before`: tokens a second; `after`: times as many."""
        usual, now = 60 * before, 60 * before * after
        return bench(engine).counter(engine.tokens, f"0+{usual:g}x{end} {usual * end + now:g}+{now:g}x30")

    yield Alert(
        name="TokenSpike",
        expr=f"{s.TOKENS} > {times:g} * avg_over_time({s.TOKENS}[1d] offset 1h) and {s.TOKENS} > {FEWEST_TOKENS}",
        severity="warning",
        wait="10m",
        summary="{{ $labels.model_name }}{{ $labels.job }} generates {{ $value | humanize }} tokens a second, "
        + f"over {times:g} times a usual day's",
        description="A loop in an agent, retries or a leaked key. Find the key with the growth and cap it. Below "
        f"{FEWEST_TOKENS} tokens a second nobody is called.",
        runbook="token-cost-spike",
        cases=tuple(
            case
            for engine in known
            for case in (
                Case(
                    f"{engine.title}: far more than usual",
                    tokens(engine, 1.7 * times),
                    (bench(engine).seen,),
                    f"{end + 25}m",
                ),
                Case(f"{engine.title}: more than usual", tokens(engine, 0.7 * times), at=f"{end + 25}m"),
                Case(
                    f"{engine.title}: far more than in a quiet night, and still little",
                    tokens(engine, 1.7 * times, FEWEST_TOKENS / (2 * times)),
                    at=f"{end + 25}m",
                ),
            )
        ),
    )


def _of_model(expression: str, more: str = "") -> str:
    """Our own contract says `model`; where the scrape adds `model_name`, that is it."""
    by = f"service, model_name, namespace{more}"
    return f'max by ({by}) (label_replace({expression}, "model_name", "$1", "model", "(.+)"))'


def drift(limits: Limits) -> Group:
    """From `model_drift_*`, which `fixfirst drift` or a job of your own exports."""
    feature = {"feature": "prompt_length"}
    by = "model, feature, method"

    def score(method: str, value: float) -> dict[str, str]:
        return series("model_drift_score", {**_OF, **feature, "method": method}, steady(value))

    own = f'model_drift_score{{method="ks"}} > on ({by}) group_left max by ({by}) (model_drift_threshold)'
    ours = f'(model_drift_score{{method="ks"}} unless on ({by}) model_drift_threshold) > {KS_LIMIT}'
    threshold = series("model_drift_threshold", {**_OF, **feature, "method": "ks"}, steady(0.3))
    last = "model_drift_last_run_timestamp_seconds"
    limit = limits.crit("M1")
    return Group(
        "fixfirst-drift",
        (
            Alert(
                name="ModelDriftPSI",
                expr=_of_model('model_drift_score{method="psi"}', ", feature") + f" > {limit:g}",
                severity="warning",
                wait="15m",
                summary="{{ $labels.model_name }}: {{ $labels.feature }} has drifted, PSI {{ $value | humanize }}",
                description=f"Inputs no longer look like the reference: over {limit:g} by convention. The service is "
                "up and "
                "quick, and its answers may be wrong. See what changed upstream.",
                runbook="drift-threshold-crossed",
                cases=(
                    Case("PSI far over it", score("psi", 1.75 * limit), ({**_SEEN, **feature},)),
                    Case("PSI under it", score("psi", 0.75 * limit)),
                    Case("another method's score", score("js", 1.75 * limit)),
                ),
            ),
            Alert(
                name="ModelDriftKS",
                expr=_of_model(f"({own} or {ours})", ", feature"),
                severity="warning",
                wait="15m",
                summary="{{ $labels.model_name }}: {{ $labels.feature }} has drifted, KS {{ $value | humanize }}",
                description="The distributions are further apart than the threshold exported beside them, or "
                f"{KS_LIMIT}.",
                runbook="drift-threshold-crossed",
                cases=(
                    Case("KS 0.2, no threshold", score("ks", 0.2), ({**_SEEN, **feature},)),
                    Case("KS 0.4 over its threshold", {**score("ks", 0.4), **threshold}, ({**_SEEN, **feature},)),
                    Case("KS 0.2 under its threshold", {**score("ks", 0.2), **threshold}),
                    Case("KS 0.05", score("ks", 0.05)),
                ),
            ),
            Alert(
                name="ModelDriftStale",
                expr=f"{_of_model(f'time() - {last}')} > {DRIFT_EVERY_S} or absent({last})",
                severity="warning",
                wait="1h",
                summary="The drift job{{ if $labels.model_name }} of {{ $labels.model_name }}{{ end }} did not run",
                description="Drift is not being looked at: its score says nothing about today. See the job's own log.",
                runbook="",
                cases=(
                    Case("it ran last 26 hours ago", series(last, _OF, steady(0, 26 * 60)), (_SEEN,), f"{26 * 60}m"),
                    Case("it never ran", {}, ({},), "90m"),
                    Case("it ran an hour ago", series(last, _OF, steady(0)), at="61m"),
                ),
            ),
        ),
    )


def canaries(every: float) -> Group:
    """From `model_canary_*`, which the bot exports for its `[[canary]]` prompts. every: seconds between two rounds of
    the one that runs most seldom."""
    ratio, last = "model_canary_pass_ratio", "model_canary_last_run_timestamp_seconds"
    unanswered, right = "model_canary_unanswered", 'model_quality_score{metric="canary"}'
    stale = max(CANARY_STALE_S, 2 * every)
    one = {"canary": "general"}
    of, seen = {**_OF, **one}, {**_SEEN, **one}

    def lowest(expression: str) -> str:
        by = "service, model_name, namespace, canary"
        return f'min by ({by}) (label_replace({expression}, "model_name", "$1", "model", "(.+)"))'

    def round_(passed: float, of_answered: float | None, silent: float) -> dict[str, str]:
        known = series("model_quality_score", {**_OF, "metric": "canary"}, steady(of_answered or 0))
        return {
            **series(ratio, of, steady(passed)),
            **series(unanswered, of, steady(silent)),
            **(known if of_answered is not None else {}),
        }

    return Group(
        "fixfirst-canaries",
        (
            Alert(
                name="ModelCanaryFailing",
                # A call without an answer does not pass either; the score is of what was answered.
                expr=lowest(f"({ratio} and on (service, model, namespace) ({right} < {CANARY}))") + f" < {CANARY}",
                severity="critical",
                wait="10m",
                summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of the canary prompts pass",
                description="The model answers, and answers wrong. Metrics of the engine do not show this: a template, "
                "quantisation or routing has changed.",
                runbook="wrong-answers",
                cases=(
                    Case("half of the prompts pass", round_(0.5, 0.5, 0), (seen,)),
                    Case("two in ten are not answered, the others wrongly", round_(0.1, 0.125, 2), (seen,)),
                    Case("nine in ten pass", round_(0.9, 0.9, 0)),
                    Case("three in ten are not answered, the others well", round_(0.7, 1, 3)),
                    Case("the token has expired", round_(0, None, 10)),
                ),
            ),
            Alert(
                name="ModelCanaryUnanswered",
                expr=lowest(f"({unanswered} > 0 and {ratio} < {CANARY})"),
                severity="warning",
                wait="10m",
                summary="{{ $labels.model_name }} left {{ $value }} calls of canary {{ $labels.canary }} unanswered",
                description="The model is down or cannot be reached, or the canary's token is refused: nobody can say "
                "whether its answers are right. See the bot's log.",
                runbook="",
                cases=(
                    Case("the token has expired", round_(0, None, 10), (seen,)),
                    Case("all answer, and wrongly", round_(0, 0, 0)),
                    Case("one in ten is not answered", round_(0.9, 1, 1)),
                ),
            ),
            Alert(
                name="ModelCanaryStale",
                expr=_of_model(f"time() - {last}", ", canary") + f" > {stale:g} or absent({last})",
                severity="warning",
                wait="1h",
                summary="The canary {{ $labels.canary }}"
                "{{ if $labels.model_name }} of {{ $labels.model_name }}{{ end }} did not run when it was due",
                description="Nobody looks at what the model answers. See the bot's log.",
                runbook="",
                cases=(
                    Case("it stands", series(last, of, steady(0, 10_000)), (seen,), f"{stale / 60 + 90:g}m"),
                    Case("it never ran", {}, ({},), "90m"),
                    Case("it runs", series(last, of, "0+60x10000"), at=f"{stale / 60 + 90:g}m"),
                ),
            ),
        ),
    )


def spend(limits: Limits) -> Group:
    """From the LiteLLM proxy. Its `team` is who pays; a team has no model of its own."""
    spent, left = "litellm_spend_metric_total", "litellm_remaining_team_budget_metric"
    failed, asked = "litellm_proxy_failed_requests_metric_total", "litellm_proxy_total_requests_metric_total"
    pace = "team:litellm_spend:rate1h"
    times = limits.warn("M2")
    team = {"team": "search"}
    by = "service, namespace, team"
    end = DAY // 2

    def spending(after: float, before: float = LEAST_SPEND) -> dict[str, str]:
        """`before`: USD an hour; `after`: times as many."""
        usual, now = before / 60, before / 60 * after
        return series(spent, {**team, "model": "gpt"}, f"0+{usual:g}x{end} {usual * end + now:g}+{now:g}x90")

    def budget(remaining: float) -> dict[str, str]:
        return {**series(spent, team, growing(0.1)), **series(left, team, steady(remaining))}

    def answers(bad: float) -> dict[str, str]:
        return {
            **series(asked, {"requested_model": "gpt"}, growing(100)),
            **series(failed, {"requested_model": "gpt", "exception_class": "RateLimitError"}, growing(bad)),
        }

    return Group(
        "fixfirst-spend",
        (
            # The day's mean is taken over what was measured: a rate over the whole day would count the hours before the
            # first sample as hours without spend.
            Record(pace, f"sum by ({by}) (rate({spent}[1h]))"),
            Alert(
                name="SpendSpike",
                expr=f"{pace} > {times:g} * avg_over_time({pace}[1d] offset 1h) and {pace} * 3600 > {LEAST_SPEND}",
                severity="warning",
                wait="5m",
                summary="{{ $labels.team }} spends {{ $value | humanize }} USD a second, "
                + f"over {times:g} times a usual day's",
                description="A loop in an agent, retries or a leaked key. Cap the key that grows. Below "
                f"{LEAST_SPEND} USD an hour nobody is called.",
                runbook="token-cost-spike",
                cases=(
                    Case("far more than usual", spending(3 * times), (team,), f"{end + 80}m"),
                    Case("more than usual", spending(0.7 * times), at=f"{end + 80}m"),
                    Case(
                        "far more than in a quiet night, and still little",
                        spending(1.5 * times, LEAST_SPEND / (2 * times)),
                        at=f"{end + 80}m",
                    ),
                ),
            ),
            Alert(
                name="SpendBudgetNearlyGone",
                expr=f"max by ({by}) ({left}) <= 24 * 3600 * {pace}",
                severity="warning",
                wait="10m",
                summary="{{ $labels.team }} has {{ $value | humanize }} USD left, less than a day's spend",
                description="When it is gone, the proxy refuses the team's requests.",
                runbook="token-cost-spike",
                cases=(
                    Case("100 USD at 144 a day", budget(100), (team,), "80m"),
                    Case("it is gone", budget(0), (team,), "80m"),
                    Case("1000 USD at 144 a day", budget(1000), at="80m"),
                ),
            ),
            Alert(
                name="LLMProxyErrorRatioHigh",
                expr=f"sum by (service, namespace, requested_model) (rate({failed}[5m]))"
                f" / sum by (service, namespace, requested_model) (rate({asked}[5m])) > 0.05",
                severity="warning",
                wait="5m",
                summary="{{ $labels.requested_model }}: {{ $value | humanizePercentage }} of the proxy's requests fail",
                description="Of all providers together. Its label exception_class says how.",
                runbook="rollback-model-deploy",
                cases=(
                    Case("20 of 100 fail", answers(20), ({"requested_model": "gpt"},)),
                    Case("1 of 100 fails", answers(1)),
                ),
            ),
        ),
        tested_every="5m",
    )
