"""Whether the model still answers as it did, and what it costs."""

from bot.health.engines import ENGINES, Engine
from bot.health.queries.serving import per_second, share

_SCORES = (
    'max by (model_name, feature) (model_drift_score{{method="{method}",model_name!="",<model_name>}})',
    'max by (model_name, feature) (label_replace(model_drift_score{{method="{method}",model_name="",<model>}}, '
    '"model_name", "$1", "model", "(.+)"))',
)


def drift(method: str) -> tuple[str, ...]:
    """The score of each feature; who writes `model` and who writes `model_name` is told apart."""
    return tuple(source.format(method=method) for source in _SCORES)


_RUN = "model_drift_last_run_timestamp_seconds"
_RUN_OF = f'label_replace({_RUN}{{model_name="",<model>}}, "model_name", "$1", "model", "(.+)")'
LAST_RUN = (
    f'max by (model_name) (time() - {_RUN}{{model_name!="",<model_name>}})',
    f"max by (model_name) (time() - {_RUN_OF})",
)

# The ratio counts what was not answered as failed. Then the share of the answers that came is asked instead: a key that
# has run out, or a gateway that is down, says nothing of the model's words.
CANARY = (
    "min by (model_name, canary) (label_replace(model_canary_pass_ratio{<model>} unless on (model, canary) "
    'model_canary_unanswered{<model>} > 0, "model_name", "$1", "model", "(.+)"))',
    'min by (model_name) (label_replace(model_quality_score{metric="canary",<model>} and on (model) '
    '(model_canary_unanswered{<model>} > 0), "model_name", "$1", "model", "(.+)"))',
)


def _fall(selector: str) -> str:
    """How far the score has fallen from the best tenth of the day: a mean would sink with it."""
    return f"(quantile_over_time(0.9, {selector}[<day>]) - {selector})"


_NAMED = _fall('model_quality_score{model_name!="",<model_name>}')
_UNNAMED = _fall('model_quality_score{model_name="",<model>}')
WORSE = (
    f"max by (model_name, metric) ({_NAMED})",
    f'max by (model_name, metric) (label_replace({_UNNAMED}, "model_name", "$1", "model", "(.+)"))',
)


def _usual(rate: str) -> str:
    """What `rate` is as a rule: at this hour yesterday, else in the hour before the last. A mean of rates over what was
    measured: a rate over the whole time would count the hours before the first sample as hours without a token."""
    past = f"avg_over_time({rate}[<memory>:<window>]"
    return f"({past} offset <day>) or {past} offset <memory>))"


def _against_usual(rate: str) -> str:
    return f"{rate} / ({_usual(rate)} > 0)"


def _shift(engine: Engine) -> str:
    """Share of the answers that were cut off or broke, over what is usual: a model that no longer finds its end. At
    least 5 % are taken as usual, because twice of little is little."""
    odd = engine.finished.replace("{", '{finished_reason=~"length|abort|error|repetition",')
    odds = f"({share(per_second(engine, odd, '<quarter>'), per_second(engine, engine.finished, '<quarter>'))})"
    return f"{odds} / clamp_min({_usual(odds)}, 0.05)"


ODD_ENDINGS = tuple(_shift(engine) for engine in ENGINES if engine.finished)
NAN = tuple(f"{per_second(engine, engine.nan, '<quarter>')} * <quarter_s>" for engine in ENGINES if engine.nan)

# How many requests there are does not matter here: more demand makes no answer longer.
EACH = tuple(
    _against_usual(f"({per_second(engine, engine.generated)} / ({per_second(engine, engine.ended)} > 0))")
    for engine in ENGINES
    if engine.generated and engine.ended
)

TOKENS = tuple(_against_usual(per_second(engine, engine.generated)) for engine in ENGINES if engine.generated)
OF_TOKEN_BUDGET = tuple(
    f"label_replace({per_second(engine, engine.generated)} / on (model_name) "
    'max by (model_name) (gateway_token_budget_per_second{<model_name>}), "measure", "of the token budget", "", "")'
    for engine in ENGINES
    if engine.generated
)

_SPEND = "litellm_spend_metric_total{<model>}"
_SPENT = f'sum by (model_name) (label_replace(rate({_SPEND}[<memory>]), "model_name", "$1", "model", "(.+)"))'
SPEND = (_against_usual(_SPENT),)


def _by_key(by: str) -> str:
    spent = f'label_replace(rate({_SPEND}[<quarter>]), "model_name", "$1", "model", "(.+)")'
    return f"sum by ({by}) ({spent})"


_KEYS_SHARE = f"({_by_key('model_name, hashed_api_key')} / on (model_name) group_left () ({_by_key('model_name')} > 0))"
# A key that nobody knew before had nothing.
ONE_KEY = (f"max by (model_name) ({_KEYS_SHARE} - ({_usual(_KEYS_SHARE)} or {_KEYS_SHARE} * 0))",)

# LiteLLM writes `team_id` in some versions and `team` in others; the alias is in both.
_TEAM_SPEND = "sum by (team_alias) (rate(litellm_spend_metric_total[<memory>]))"
BUDGET = (f"max by (team_alias) (litellm_remaining_team_budget_metric) / ({_TEAM_SPEND} > 0)",)
