"""Where a placeholder may stand in a PromQL query, so that no value can change what the query asks."""

from collections.abc import Mapping

from bot.runbook.template import PLACEHOLDER

_PAIRS = {")": "(", "]": "[", "}": "{"}


def escape(value: str) -> str:
    """The value as it must stand between double quotes (Go's escapes, which PromQL uses)."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def problems(query: str, types: Mapping[str, str]) -> list[str]:
    """Sentences about misplaced placeholders and about quotes and brackets that do not pair.

    `types` gives the type of each parameter; a whole number may stand bare, anything else only inside double quotes and
    not in a regular expression, where its dots would match anything.
    """
    found: list[str] = []
    opened: list[str] = []
    position = 0
    while position < len(query):
        character = query[position]
        placeholder = PLACEHOLDER.match(query, position)
        if placeholder:
            if types.get(placeholder[1], "int") != "int":
                found.append(f'{placeholder[0]} must stand inside double quotes: label="{placeholder[0]}"')
            position = placeholder.end()
        elif character == "#":
            line_end = query.find("\n", position)
            position = len(query) if line_end < 0 else line_end
        elif character in "\"'`":
            end = _string_end(query, position)
            if end is None:
                return [*found, f"the string that begins with {query[position : position + 20]!r} is not closed"]
            found.extend(_in_string(query, position, end))
            position = end
        else:
            if character in "([{":
                opened.append(character)
            elif character in ")]}" and (not opened or opened.pop() != _PAIRS[character]):
                return [*found, f"'{character}' closes nothing that is open"]
            position += 1
    if opened:
        found.append(f"'{opened[-1]}' is not closed")
    return found


def _string_end(query: str, start: int) -> int | None:
    """The position after the closing quote."""
    quote = query[start]
    position = start + 1
    while position < len(query):
        if query[position] == "\\" and quote != "`":
            position += 2
        elif query[position] == quote:
            return position + 1
        else:
            position += 1
    return None


def _in_string(query: str, start: int, end: int) -> list[str]:
    placeholder = PLACEHOLDER.search(query, start, end)
    if placeholder is None:
        return []
    if query[start] != '"':
        return [f"{placeholder[0]} must stand inside double quotes, not {query[start]}"]
    if query[:start].rstrip().endswith(("=~", "!~")):
        return [f"{placeholder[0]} would be read as a regular expression here; compare with = or !="]
    return []
