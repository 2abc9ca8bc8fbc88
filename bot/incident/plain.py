"""Others' words as a line may hold them: what moves a cursor, ends a line or turns its direction is a blank. Pure."""


def plain(text: str, keep: str = "") -> str:
    """The text, as long as it was, with a blank for each character that is not printable and not among `keep`.

    Control characters are not printable (ESC begins what a terminal obeys), nor are those that turn the direction of
    what follows, other ends of lines and half characters.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else " " for c in text)


def one_line(text: str) -> str:
    """The same with one blank for many."""
    return " ".join(plain(text).split())


def hanging(head: str, text: str) -> str:
    """The text behind a head; its further lines stand below its first, so that none is taken for one with a head."""
    return head + f"\n{'':{len(head)}}".join(plain(line) for line in text.split("\n"))
