"""Lines as they stand in the logs of a GPU fleet on any day, with no secret in them: 1,200, always the same."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

LINES_PER_SHAPE: Final = 30
_SEED: Final = 20_261_121
_dice = random.Random(_SEED)


def _hex(digits: int) -> str:
    return f"{_dice.getrandbits(4 * digits):0{digits}x}"


def _moment(shape: str) -> str:
    at = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(
        seconds=_dice.randrange(86_400), milliseconds=_dice.randrange(999)
    )
    return at.strftime(shape)


VALUES: Final[dict[str, Callable[[], str]]] = {
    "address": lambda: f"10.{_dice.randrange(256)}.{_dice.randrange(256)}.{_dice.randrange(1, 255)}",
    "digest": lambda: f"sha256:{_hex(64)}",
    "commit": lambda: _hex(40),
    "short": lambda: _hex(12),
    "span": lambda: _hex(16),
    "trace": lambda: _hex(32),
    "uuid": lambda: str(uuid.UUID(int=_dice.getrandbits(128), version=4)),
    "gpu": lambda: f"GPU-{uuid.UUID(int=_dice.getrandbits(128), version=4)}",
    "number": lambda: str(_dice.randrange(10**9)),
    "small": lambda: str(_dice.randrange(1, 4096)),
    "share": lambda: f"{_dice.random():.3f}",
    "nanoseconds": lambda: str(1_763_690_000_000_000_000 + _dice.randrange(10**14)),
    "bytes": lambda: str(_dice.randrange(10**11)),
    "iso": lambda: _moment("%Y-%m-%dT%H:%M:%S.%fZ"),
    "clock": lambda: _moment("%m-%d %H:%M:%S"),
    "nginx": lambda: _moment("%d/%b/%Y:%H:%M:%S +0000"),
    "syslog": lambda: _moment("%b %d %H:%M:%S"),
    "model": lambda: _dice.choice(("llama-70b", "qwen3-32b", "mixtral-8x22b", "deepseek-v3", "gpt-oss-120b")),
    "node": lambda: f"gpu-node-{_dice.randrange(1, 99)}.dc{_dice.randrange(1, 4)}.cluster.local",
    "pod": lambda: f"vllm-{_dice.choice(('chat', 'batch', 'embed'))}-{_hex(10)}-{_hex(5)}",
    "xid": lambda: str(_dice.choice((13, 31, 43, 45, 48, 63, 64, 74, 79, 94, 95, 119))),
    "bus": lambda: f"0000:{_dice.randrange(256):02x}:00",
    "status": lambda: str(_dice.choice((200, 429, 499, 500, 502, 503, 504))),
}

SHAPES: Final = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()


def lines() -> list[str]:
    """Every shape, filled in again and again."""
    _dice.seed(_SEED)
    drawn = []
    for shape in SHAPES:
        for _ in range(LINES_PER_SHAPE):
            drawn.append(shape.format(**{name: draw() for name, draw in VALUES.items()}))
    return drawn
