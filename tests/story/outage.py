"""A night in which PagerDuty answers nobody, and a bridge and a mail server stand in for it."""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integrations.bridge import Bridge, open_bridge
from tests.integrations.postbox import Postbox, open_postbox
from tests.story.night import Night, open_night

SECRET = "the bridge knows us by this"
FALLBACKS = """
[[pager.fallback]]
kind = "webhook"
name = "bridge"
url = "{bridge}"
secret_env = "BRIDGE_SECRET"

[[pager.fallback]]
kind = "mail"
name = "oncall-mail"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "fixfirst@example.com"
to = ["oncall@example.com"]
"""


@dataclass
class Outage:
    """The night, and the other ways to wake people."""

    night: Night
    bridge: Bridge
    mail: Postbox


@contextmanager
def open_outage(folder: Path, fallbacks: str = FALLBACKS) -> Iterator[Outage]:
    """Ends with a look at every signature that the bridge was sent."""
    with open_bridge() as bridge, open_postbox(Postbox()) as mail:
        tables = fallbacks.format(bridge=bridge.url, mail=mail.port)
        settings = {"[alerts]\n": f"[alerts]\n{tables}"}
        with open_night(folder, settings=settings, secrets={"BRIDGE_SECRET": SECRET}) as night:
            night.bench.pagerduty.outage = "500"
            yield Outage(night, bridge, mail)
        for headers, body, _ in bridge.heard:
            signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            assert headers["X-FixFirst-Signature"] == f"v1={signature}"
