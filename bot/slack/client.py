"""Slack's Web API as we use it: no retries behind our back, a time-out on every call, failures in our own words."""

import logging
import re
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.webhook import WebhookClient

from bot.contracts import Permanent, Transient
from bot.slack.settings import Settings
from bot.slack.tls import in_time

TIMEOUT_S: Final = 8
"""Below the 10 s that one courier call may last."""

PASSING: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Errors of Slack's own making: the same call may work later."""

ADVICE: Final = {
    "invalid_auth": "check FIXFIRST_SLACK_BOT_TOKEN",
    "not_authed": "check FIXFIRST_SLACK_BOT_TOKEN",
    "token_revoked": "install the app again and set the new FIXFIRST_SLACK_BOT_TOKEN",
    "account_inactive": "install the app again and set the new FIXFIRST_SLACK_BOT_TOKEN",
    "not_in_channel": "invite the bot to the channel",
    "channel_not_found": "check slack.intake_channel, and that the bot is in it",
    "restricted_action": "an admin has to allow the app to do this",
}


ON_THE_WAY: Final = frozenset({407, 408})
"""Statuses of what stands between us and Slack, whatever their body says."""
WORD: Final = re.compile(r"[\w.:/-]{1,80}", re.ASCII)
"""What Slack's error words look like. Where an answer is no JSON, the SDK puts a sentence in their place."""
GARBLED: Final = (UnicodeError, LookupError, AttributeError)
"""What the SDK trips over in an answer that is not Slack's: bytes of another charset, a charset that nobody knows, a
list where an object should be."""


def connect(settings: Settings, logger: logging.Logger | None = None) -> WebClient:
    """A client whose failed calls fail at once: the SDK would post a message again after a dropped connection."""
    url = settings.api_url if settings.api_url.endswith("/") else f"{settings.api_url}/"
    return WebClient(
        settings.bot_token.reveal(), base_url=url, timeout=TIMEOUT_S, ssl=in_time(), retry_handlers=[], logger=logger
    )


class Refusal(Exception):
    """Slack understood and said no; `error` is its own word for it."""

    def __init__(self, error: str, sentence: str) -> None:
        super().__init__(sentence)
        self.error = error


def call(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """One Web API call. Raises Transient, or Refusal with Slack's own error word.

    Only Slack's own no is a refusal. What came from somebody on the way (a login page, a proxy) says nothing of what
    Slack did or would do.
    """
    try:
        answer = method(**arguments)
    except SlackApiError as error:
        raise _failure(error) from error
    except (SlackClientError, OSError, HTTPException) as error:
        raise Transient(f"Slack does not answer ({type(error).__name__})", ambiguous=True) from error
    except GARBLED as error:
        raise _not_slack(f"what cannot be read ({type(error).__name__})") from error
    if not isinstance(answer.data, dict):
        raise _not_slack(f"{answer.status_code} with no JSON of its own")
    return dict(answer.data)


def _failure(error: SlackApiError) -> Transient | Refusal:
    response = error.response
    status = response.status_code
    if status == 429:
        return _slow_down(response.headers)
    word = _word(response.data)
    if status >= 500 or word in PASSING:
        return Transient(f"Slack answered {word or f'HTTP {status}'}", ambiguous=True)
    if status in ON_THE_WAY:
        return _not_slack(f"HTTP {status}")
    if not word:
        return _not_slack(f"{status} with no JSON of its own")
    if word == "missing_scope":
        return Refusal(word, f"the Slack app lacks the scope {response.get('needed')}; add it and install it again")
    return Refusal(word, f"Slack refused it: {word}" + (f"; {ADVICE[word]}" if word in ADVICE else ""))


def _word(body: object) -> str:
    """Slack's own word for why not; empty where the body is not Slack's."""
    if not isinstance(body, dict) or body.get("ok") is not False:
        return ""
    word = body.get("error")
    return word if isinstance(word, str) and WORD.fullmatch(word) else ""


def _slow_down(headers: Mapping[str, Any]) -> Transient:
    wish = str(headers.get("Retry-After") or headers.get("retry-after") or "1")
    return Transient("Slack asks us to slow down", retry_after=float(wish) if wish.isdecimal() else 1.0)


def _not_slack(came: str) -> Transient:
    return Transient(f"Slack answered {came}: is a login page or a proxy in between?", ambiguous=True)


def must(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """As `call`, for where any refusal ends the matter. Raises Transient, Permanent."""
    try:
        return call(method, **arguments)
    except Refusal as refusal:
        raise Permanent(str(refusal)) from refusal


def respond_at(response_url: str, **message: Any) -> None:
    """Posts to a response_url, once; Bolt's own way would wait 30 s and post again. Raises Transient, Refusal.

    An address that is used up or over is refused by its status, in words that vary.
    """
    client = WebhookClient(response_url, timeout=TIMEOUT_S, ssl=in_time(), retry_handlers=[])
    try:
        taken = client.send(**message)
    except (SlackClientError, OSError, HTTPException) as error:
        raise Transient(f"Slack does not answer ({type(error).__name__})", ambiguous=True) from error
    except GARBLED as error:
        raise _not_slack(f"what cannot be read ({type(error).__name__})") from error
    status = taken.status_code
    if status == 429:
        raise _slow_down(taken.headers)
    if status >= 500:
        raise Transient(f"Slack answered HTTP {status}", ambiguous=True)
    if status in ON_THE_WAY or 300 <= status < 400:
        raise _not_slack(f"HTTP {status}")
    if status != 200:
        raise Refusal(f"HTTP {status}", f"Slack answered {status}: {taken.body[:200]}")
    if taken.body.lstrip().startswith("<"):
        raise _not_slack("200 with a page")
