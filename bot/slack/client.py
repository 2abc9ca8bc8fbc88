"""Slack's Web API as we use it: no retries behind our back, a time-out on every call, failures in our own words."""

from collections.abc import Callable
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


def connect(settings: Settings) -> WebClient:
    """A client whose failed calls fail at once: the SDK would post a message again after a dropped connection."""
    url = settings.api_url if settings.api_url.endswith("/") else f"{settings.api_url}/"
    return WebClient(settings.bot_token.reveal(), base_url=url, timeout=TIMEOUT_S, ssl=in_time(), retry_handlers=[])


class Refusal(Exception):
    """Slack understood and said no; `error` is its own word for it."""

    def __init__(self, error: str, sentence: str) -> None:
        super().__init__(sentence)
        self.error = error


def call(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """One Web API call. Raises Transient, or Refusal with Slack's own error word."""
    try:
        answer = method(**arguments)
    except SlackApiError as error:
        raise _failure(error) from error
    except (SlackClientError, OSError, HTTPException) as error:
        raise Transient(f"Slack does not answer ({type(error).__name__})", ambiguous=True) from error
    return dict(answer.data)


def _failure(error: SlackApiError) -> Transient | Refusal:
    response = error.response
    status = response.status_code
    word = str(response.get("error") or f"HTTP {status}") if isinstance(response.data, dict) else f"HTTP {status}"
    if status == 429:
        wish = str(response.headers.get("Retry-After") or response.headers.get("retry-after") or "1")
        return Transient("Slack asks us to slow down", retry_after=float(wish) if wish.isdecimal() else 1.0)
    if status >= 500 or word in PASSING:
        return Transient(f"Slack answered {word}", ambiguous=True)
    if word == "missing_scope":
        return Refusal(word, f"the Slack app lacks the scope {response.get('needed')}; add it and install it again")
    return Refusal(word, f"Slack refused it: {word}" + (f"; {ADVICE[word]}" if word in ADVICE else ""))


def must(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """As `call`, for where any refusal ends the matter. Raises Transient, Permanent."""
    try:
        return call(method, **arguments)
    except Refusal as refusal:
        raise Permanent(str(refusal)) from refusal


def respond_at(response_url: str, **message: Any) -> None:
    """Posts to a response_url, once; Bolt's own way would wait 30 s and post again. Raises Transient, Refusal."""
    client = WebhookClient(response_url, timeout=TIMEOUT_S, ssl=in_time(), retry_handlers=[])
    try:
        taken = client.send(**message)
    except (SlackClientError, OSError, HTTPException) as error:
        raise Transient(f"Slack does not answer ({type(error).__name__})", ambiguous=True) from error
    if taken.status_code != 200:
        raise Refusal(f"HTTP {taken.status_code}", f"Slack answered {taken.status_code}: {taken.body[:200]}")
