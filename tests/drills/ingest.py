"""Samples into a real Prometheus with the time of a clock of ours, by its remote-write receiver.

The format is https://prometheus.io/docs/concepts/remote_write_spec/: protobuf inside one Snappy block. Both are written
by hand here: three nested messages, and a block that compresses nothing.
"""

import http.client
import struct
from collections.abc import Iterator, Mapping

# What Prometheus itself writes where a series is gone from a scrape.
STALE = struct.pack("<Q", 0x7FF0000000000002)
LITERAL = 65_536
Series = dict[str, bytes]
"""What stands before the value on a line of the exposition, to the series' labels as protobuf."""


def varint(number: int) -> bytes:
    """Protobuf's and Snappy's numbers."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def part(field: int, content: bytes) -> bytes:
    """A length-delimited field of a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def snappy(content: bytes) -> bytes:
    """A Snappy block of literals alone."""
    blocks = [content[start : start + LITERAL] for start in range(0, len(content), LITERAL)]
    return varint(len(content)) + b"".join(b"\xf4" + struct.pack("<H", len(b) - 1) + b for b in blocks)


def labels_of(series: str, target: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and labels of a line of the exposition; `target`'s are added. Our fleet's values hold no quote or comma."""
    name, _, inner = series.partition("{")
    yield "__name__", name
    for pair in filter(None, inner.rstrip("}").split('",')):
        key, _, value = pair.partition('="')
        yield key, value.rstrip('"')
    yield from target.items()


class Scraper:
    """Does with a page of metrics what Prometheus' own scrape does: one sample of every series, `up`, and an end mark
    for each series that is gone."""

    def __init__(self, port: int, target: Mapping[str, str]) -> None:
        self._port = port
        self._target = target
        self._known: Series = {}
        self._last: set[str] = set()

    def take(self, page: str, at: float) -> None:
        """One page, seen at `at` (seconds since the epoch)."""
        millis = int(at * 1000)
        found = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        found["up"] = "1"
        samples = {series: struct.pack("<d", float(value)) for series, value in found.items()}
        gone = dict.fromkeys(self._last - samples.keys(), STALE)
        self._last = set(samples)
        self._write({**samples, **gone}, millis)

    def end(self, at: float) -> None:
        """The target is gone."""
        self._write(dict.fromkeys(self._last, STALE), int(at * 1000))
        self._last = set()

    def _write(self, samples: dict[str, bytes], millis: int) -> None:
        when = varint(2 << 3) + varint(millis)
        request = b"".join(
            part(1, self._labels(series) + part(2, b"\x09" + value + when)) for series, value in samples.items()
        )
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", "/api/v1/write", snappy(request), headers)
            answer = connection.getresponse()
            assert answer.status == 204, answer.read()
        finally:
            connection.close()

    def _labels(self, series: str) -> bytes:
        if series not in self._known:
            pairs = sorted(labels_of(series, self._target))
            self._known[series] = b"".join(
                part(1, part(1, name.encode()) + part(2, value.encode())) for name, value in pairs if value
            )
        return self._known[series]
