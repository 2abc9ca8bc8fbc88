"""A second opinion: what servers and GPUs themselves answer, put beside what Prometheus says of them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Final, Literal

from bot.health.findings import Report, Verdict
from bot.health.observation import Observation


class Question(StrEnum):
    """What is asked. The value is the check's id in a report."""

    ALIVE = "P1"
    READY = "P2"
    TOKEN = "P3"  # noqa: S105 - of a text, no secret
    PODS = "P4"
    GPUS = "P5"


TITLES: Final = {
    Question.ALIVE: "Alive, asked directly",
    Question.READY: "Ready, asked directly",
    Question.TOKEN: "One token, asked directly",
    Question.PODS: "Pods ready, asked of Kubernetes",
    Question.GPUS: "GPUs of this machine, asked of NVML",
}
_PHRASES: Final = {
    Question.ALIVE: "{good} of {all} servers are alive",
    Question.READY: "{good} of {all} servers say that they are ready",
    Question.TOKEN: "{good} of {all} servers answer with a token",
    Question.PODS: "{good} of {all} deployments have all their pods ready",
    Question.GPUS: "{good} of {all} GPUs are well",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of those asked said. `good` is None when it was not asked, or could not be: `text` then says why.

    `who` is the address, the deployment or the GPU. `seconds` is how long the answer took, where that means something.
    """

    question: Question
    who: str
    good: bool | None
    text: str
    seconds: float | None = None


def observations(answers: Sequence[Answer]) -> tuple[Observation, ...]:
    """One observation per question that was meant to be asked, in the order of the questions."""
    return tuple(
        _observation(question, told)
        for question in Question
        if (told := [answer for answer in answers if answer.question is question])
    )


def _observation(question: Question, answers: Sequence[Answer]) -> Observation:
    asked = [answer for answer in answers if answer.good is not None]
    bad = [answer for answer in asked if not answer.good]
    status: Literal["ok", "warn", "crit", "unknown"] = "ok"
    if not asked:
        status = "unknown"
    elif bad:
        status = "crit" if len(bad) == len(asked) else "warn"
    if asked:
        text = _PHRASES[question].format(good=len(asked) - len(bad), all=len(asked))
        took = [answer.seconds for answer in asked if answer.good and answer.seconds is not None]
        text += f" within {median(took):.2g} s" if took and question is Question.TOKEN else ""
        text += f": {bad[0].text}" if bad else ""
    else:
        text = _reasons(answers)
    others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return Observation(
        check=question.value,
        group="probe",
        title=TITLES[question],
        status=status,
        value=len(bad) / len(asked) if asked else None,
        text=text,
        offender=f"{bad[0].who}{others}" if bad else "",
        query="",
        scope="model",
    )


def _reasons(answers: Iterable[Answer]) -> str:
    return ", ".join(dict.fromkeys(answer.text for answer in answers))


def waiting(report: Report) -> dict[str, float]:
    """Requests in the queue per replica, by model, as far as the report's telemetry knows."""
    queues = [seen for seen in report.checks if seen.check == "U3" and seen.status != "unknown"]
    return {sample.labels.get("model_name", ""): sample.value for seen in queues for sample in seen.series}


def weighed(report: Report, seen: Sequence[Observation]) -> Report:
    """The report with the second opinion in it.

    How users are is still told by what users get, and by nothing else: an engine that answers its own health page may
    serve nobody. But where the telemetry is blind the direct answers are all there is, and where they contradict it,
    that is said.
    """
    told = [one for one in seen if one.status != "unknown"]
    bad = [one for one in told if one.bad]
    silent = [f"{one.title}: {one.text}" for one in seen if one.status == "unknown"]
    report = replace(report, checks=(*report.checks, *seen), unknowns=(*report.unknowns, *silent))
    if not told:
        return report
    if report.verdict is Verdict.BLIND:
        direct = "; ".join(one.text for one in bad or told[-1:])
        return replace(report, impact=f"{report.impact}; asked directly: {direct}")
    if report.verdict is Verdict.OK and bad:
        contradiction = "; ".join(one.text for one in bad)
        return replace(report, second=report.second or f"Asked directly, it looks otherwise: {contradiction}")
    return report
