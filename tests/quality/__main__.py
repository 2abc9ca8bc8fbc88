"""`python -m tests.quality`: the diagnosis sits its examination of forty labelled incidents.

Prints an answer a line, the misses with what was said and seen, and the marks; `--json FILE` keeps everything.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.quality.examine import Answer, Marks, as_json, examine_all
from tests.quality.scenarios import load

FIRST_SEED = 1


def line(answer: Answer) -> str:
    """One answer; what is wrong is in brackets with what was wanted."""
    impact = answer.impact if answer.impact_right else f"{answer.impact} [{answer.wanted_impact}]"
    cause = answer.cause if answer.cause_right else f"{answer.cause} [{answer.wanted_cause}]"
    unsafe = f"  UNSAFE: {', '.join(answer.unsafe)}" if answer.unsafe else ""
    mark = "ok  " if answer.right else "MISS"
    took = f"{1e3 * answer.seconds:5.0f} ms"
    return f"{mark} {answer.id:<40} {answer.seed:>3}  {impact:<22} {cause:<32} {took}{unsafe}"


def details(answer: Answer) -> str:
    """What was said and seen, for who wants to know why."""
    out = [f"{answer.id}, seed {answer.seed}, asked about {answer.scope}"]
    out += [f"  said     {answer.impact}, {answer.cause}: {answer.said}", f"  second   {answer.second or '-'}"]
    out += [f"  runbooks {', '.join(answer.runbooks) or '-'}"]
    out += [f"  unsafe   {act}: {'; '.join(where)}" for act, where in answer.unsafe.items()]
    out += [f"  bad      {check}: {text}" for check, text in answer.bad.items()]
    out += [f"  unknown  {check}: {text}" for check, text in answer.unknown.items()]
    return "\n".join(out)


def summary(answers: Sequence[Answer]) -> str:
    """The marks in one line."""
    marks = Marks.of(answers)
    share = f"{marks.cause / marks.answers:.0%}"
    return (
        f"{marks.answers} answers: impact right {marks.impact}, cause right {marks.cause} ({share}), "
        f"cause right or arguable {marks.acceptable}, unsafe {marks.unsafe}; slowest survey {marks.slowest:.2f} s"
    )


def main() -> int:
    """Ends with 1 unless every impact is right, nine causes in ten, and nothing unsafe was suggested."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.quality", description="The diagnosis and 40 labelled incidents."
    )
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="the first seed (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counted up from the first")
    parser.add_argument("--only", action="append", metavar="ID", help="this scenario only; may be repeated")
    parser.add_argument("--show", action="store_true", help="say of every answer what was seen, not of misses only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep everything there")
    asked = parser.parse_args()
    scenarios = [scenario for scenario in load() if not asked.only or scenario.id in asked.only]
    if not scenarios:
        parser.error("no scenario has that id")
    seeds = range(asked.seed, asked.seed + asked.seeds)
    sys.stdout.write(f"seeds {', '.join(map(str, seeds))}; wanted in brackets\n")
    answers = []
    for answer in examine_all(scenarios, seeds):
        answers.append(answer)
        sys.stdout.write(line(answer) + "\n")
        sys.stdout.flush()
    shown = [answer for answer in answers if asked.show or not answer.right]
    sys.stdout.write("".join(f"\n{details(answer)}\n" for answer in shown))
    sys.stdout.write(f"\n{summary(answers)}\n")
    if asked.json:
        asked.json.write_text(json.dumps(as_json(answers), indent=1) + "\n")
    marks = Marks.of(answers)
    return 0 if marks.impact == marks.answers and marks.cause >= 0.9 * marks.answers and not marks.unsafe else 1


if __name__ == "__main__":
    sys.exit(main())
