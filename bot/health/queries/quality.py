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

CANARY = (
    "min by (model_name, canary) (label_replace("
    'model_canary_pass_ratio{<model>}, "model_name", "$1", "model", "(.+)"))',
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
# LiteLLM writes `team_id` in some versions and `team` in others; the alias is in both.
_TEAM_SPEND = "sum by (team_alias) (rate(litellm_spend_metric_total[<memory>]))"
BUDGET = (f"max by (team_alias) (litellm_remaining_team_budget_metric) / ({_TEAM_SPEND} > 0)",)
