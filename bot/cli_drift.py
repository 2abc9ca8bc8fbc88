"""The command that holds samples against their reference: for cron and CI, without a server and a configuration."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bot.contracts import Permanent, Transient
from bot.incident.people import Refused
from bot.incident.plain import plain
from bot.terminal import say

if TYPE_CHECKING:
    from bot.quality.exposition import Figure
    from bot.quality.findings import Findings
    from bot.quality.samples import Choice

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
FORMATS: Final = ("text", "json", "openmetrics")
FILE: Final = click.Path(path_type=Path, dir_okay=False)
WRONG: Final = 2
"""The exit code for what is no result: 1 says that something was found."""


def outlets(command: Decorated) -> Decorated:
    """The options of commands whose results are metrics."""
    for option in reversed(
        (
            click.option("--format", "style", type=click.Choice(FORMATS), default="text", help="What is printed."),
            click.option("--textfile", type=FILE, help="Write the metrics here, for node_exporter; ends in .prom."),
            click.option("--pushgateway", metavar="URL", default="", help="Put the metrics to this Pushgateway."),
        )
    ):
        command = option(command)
    return command


@contextmanager
def no_result() -> Iterator[None]:
    """What hinders a result is a sentence, and the command ends with 2."""
    try:
        yield
    except (Refused, Transient, Permanent) as failure:
        say(f"Error: {failure}", err=True)
        raise SystemExit(WRONG) from failure
    except OSError as error:
        click.echo(f"Error: {error.filename} cannot be written: {error.strerror}", err=True)
        raise SystemExit(WRONG) from error


def hand_out(job: str, told: "Mapping[str, Sequence[Figure]]", textfile: Path | None, pushgateway: str) -> None:
    """The metrics, by model, by the ways that were asked for. Raises Refused, Transient, Permanent, OSError."""
    from bot.quality import exposition

    if textfile is not None:
        if textfile.suffix != ".prom":
            raise Refused(f"{textfile} does not end in .prom, so node_exporter would not collect it.")
        exposition.write(textfile, exposition.text(figure for figures in told.values() for figure in figures))
    for model, figures in told.items() if pushgateway else ():
        exposition.push(pushgateway, job, model, exposition.text(figures))


@click.command()
@click.option("--reference", type=FILE, help="The sample that is as it should be, CSV or Parquet.")
@click.option("--current", type=FILE, help="The sample to hold against it.")
@click.option("--evidently", type=FILE, help="Evidently's JSON report instead of the two samples.")
@click.option("--model", default="", help="The model's name in the metrics.")
@click.option("--feature", "features", multiple=True, metavar="COLUMN", help="Only this column; may be repeated.")
@click.option("--number", "numbers", multiple=True, metavar="COLUMN", help="Take it for a number.")
@click.option("--category", "categories", multiple=True, metavar="COLUMN", help="Take it for a category.")
@click.option("--method", "methods", default="psi,ks,wasserstein,js", show_default=True, help="Which distances.")
@click.option("--threshold", "limits", multiple=True, metavar="METHOD=SCORE", help="Above it a feature has drifted.")
@click.option("--rows", type=click.IntRange(1_000), help="Most rows kept of numbers. [default: 200000]")
@click.option("--seed", type=int, default=1, show_default=True, help="Which rows, where there are more.")
@outlets
def drift(
    *,
    reference: Path | None,
    current: Path | None,
    evidently: Path | None,
    model: str,
    features: tuple[str, ...],
    numbers: tuple[str, ...],
    categories: tuple[str, ...],
    methods: str,
    limits: tuple[str, ...],
    rows: int | None,
    seed: int,
    style: str,
    textfile: Path | None,
    pushgateway: str,
) -> None:
    """Tell how far a sample has drifted from its reference, feature by feature.

    Ends with 0 when nothing has drifted, 1 when something has, and 2 when that could not be told.
    """
    from datetime import UTC, datetime

    exported = bool(textfile or pushgateway or style == "openmetrics")
    if exported and not model:
        raise click.UsageError("metrics need the model's name: --model NAME")
    if evidently is not None and (reference or current):
        raise click.UsageError("give --evidently, or --reference and --current")
    with no_result():
        thresholds = _thresholds(limits)
        if evidently is not None:
            found = _of_report(evidently, thresholds, features)
        elif reference is None or current is None:
            raise click.UsageError("give --reference and --current, or --evidently")
        else:
            from bot.quality.samples import LIMIT, Choice

            chosen, by = Choice(features, numbers, categories), _methods(methods)
            found = _of_samples(
                reference, current, chosen, methods=by, thresholds=thresholds, limit=rows or LIMIT, seed=seed
            )
        if not found.scores and not found.unscored:
            raise Refused("Nothing was compared: none of these methods fits these features.")
        if not found.scores and found.untold:
            raise Refused(f"Of {found.untold[0]} drift cannot be told: {found.unscored[0].why}.")
        now = datetime.now(UTC)
        hand_out("fixfirst_drift", {model: list(found.figures(model, now))}, textfile, pushgateway)
    if style == "json":
        click.echo(json.dumps(found.to_dict(model, now), indent=2))
    elif style == "openmetrics":
        from bot.quality.exposition import text

        click.echo(text(found.figures(model, now), open_metrics=True), nl=False)
    else:
        say("\n".join(map(plain, found.lines())))
    raise SystemExit(1 if found.drifted else 0)


def _of_samples(
    reference: Path,
    current: Path,
    choice: "Choice",
    *,
    methods: tuple[str, ...],
    thresholds: dict[str, float],
    limit: int,
    seed: int,
) -> "Findings":
    from bot.quality import samples
    from bot.quality.drift import THRESHOLDS, compare
    from bot.quality.findings import Findings, Missing

    before, now = samples.opened(reference, choice), samples.opened(current, choice)
    wanted = samples.in_both(before, now, choice)
    scores, unscored, missing = [], [], []
    about: tuple[str, ...] = ()
    for pair in samples.read(before, now, wanted, seed=seed, limit=limit):
        found, not_found = compare(pair.feature, pair.reference, pair.current, methods, {**THRESHOLDS, **thresholds})
        scores += found
        unscored += not_found
        if pair.reference.missing or pair.current.missing:
            shares = (column.missing / column.rows for column in (pair.reference, pair.current))
            missing.append(Missing(pair.feature, *shares))
        about = (f"reference  {pair.rows[0]:>12,} rows  {reference}", f"current    {pair.rows[1]:>12,} rows  {current}")
        if max(pair.rows) > limit:
            about = (*about, f"Of numbers {limit:,} rows were taken, chosen by seed {seed}.")
    left_out = [f"Left out: {name} {why}." for name, why in before.others.items() if not choice.features]
    return Findings(tuple(scores), tuple(unscored), tuple(missing), (*about, *left_out))


def _of_report(path: Path, thresholds: dict[str, float], features: tuple[str, ...]) -> "Findings":
    from bot.quality import evidently
    from bot.quality.findings import Findings

    report = evidently.read(path, thresholds)
    told = {one.feature for one in report.scores} | {one.feature for one in report.unscored}
    if lost := [name for name in features if name not in told]:
        raise Refused(f"{path} does not tell of {', '.join(lost)}; it tells of {', '.join(sorted(told))}.")
    return Findings(
        tuple(one for one in report.scores if not features or one.feature in features),
        tuple(one for one in report.unscored if not features or one.feature in features),
        about=(f"Evidently's report {path}",),
        quality=report.quality,
    )


def _methods(told: str) -> tuple[str, ...]:
    from bot.quality.drift import METHODS

    named = tuple(dict.fromkeys(name.strip() for name in told.split(",")))
    if unknown := [name for name in named if name not in METHODS]:
        raise Refused(f"There is no method {unknown[0]!r}; there are {', '.join(METHODS)}.")
    return named


def _thresholds(told: Iterable[str]) -> dict[str, float]:
    from bot.quality.drift import METHODS

    found: dict[str, float] = {}
    for one in told:
        method, _, edge = one.partition("=")
        try:
            found[method] = float(edge)
        except ValueError:
            found[method] = 0.0
        if method not in METHODS or not 0 < found[method] < 1000:
            raise Refused(f"--threshold {one}: must be a method and a score above 0, as psi=0.2.")
    return found


COMMANDS = (drift,)
