"""docs/health.md tells every check with its limits as the code has them. To write the table anew: run this file."""

import re
from pathlib import Path

from bot.health import Settings, catalogue
from bot.health.checks import Check
from bot.health.observation import number

DOCUMENT = Path(__file__).parents[2] / "docs" / "health.md"
TABLE = re.compile(r"(?<=<!-- checks -->\n).*?(?=<!-- /checks -->)", re.DOTALL)


def limit(check: Check, value: float | None) -> str:
    if check.rule == "xid":
        return "by its number"
    if value is None:
        return ""
    below = "below " if check.rule == "below" else ""
    return below + number(value, check.unit)


def table() -> str:
    rows = ["| Check | | Warn | Crit | |", "|---|---|---|---|---|"]
    for check in catalogue(Settings()):
        limits = f"{limit(check, check.warn)} | {limit(check, check.crit)}"
        rows.append(f"| {check.id} | {check.title} | {limits} | {check.explain} |")
    return "\n".join(rows) + "\n"


def test_the_document_has_every_check_with_its_limits() -> None:
    found = TABLE.search(DOCUMENT.read_text(encoding="utf-8"))

    assert found is not None
    assert found[0] == table()


if __name__ == "__main__":
    DOCUMENT.write_text(TABLE.sub(lambda _: table(), DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
