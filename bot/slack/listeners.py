"""From Slack's payloads to commands at the desk, and back to the person who asked.

Every request is answered after the commit and before any call to Slack. What has to call Slack (open a modal, post an
ephemeral answer, ask who somebody is) happens afterwards on a small pool, once; if it fails, the person is told.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Semaphore
from typing import Any, Final

import structlog
from slack_bolt import Ack, App, BoltContext, BoltResponse, Respond
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_sdk import WebClient

from bot.contracts import Transient
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident.people import Actor, Refused
from bot.journal import Busy, Unsure
from bot.slack import cards, modals
from bot.slack.actions import Do
from bot.slack.client import Refusal, call, respond_at
from bot.slack.directory import Directory
from bot.slack.replies import BUSY, PRESS_AGAIN, Asked, Reply, came_of, not_known
from bot.slack.settings import Settings
from bot.slack.text import heard
from bot.slack.verbs import Verbs

log = structlog.get_logger()

COMMAND: Final = "/incident"
DIRECT_THREADS: Final = 8
TURN: Final = "turn"
"""Where Bolt's context of a request holds what may be taken once, by whoever answers it; a socket has none."""
Turn = Semaphore | None


@dataclass(frozen=True, slots=True)
class Door:
    """How one kind of request is answered: at once, or later when we first had to ask who it is.

    Later as well when it took so long that our own door has taken the `turn` to answer, before Slack gave up.
    """

    at_once: Callable[[Reply], None]
    later: Callable[[Reply], None]
    turn: Turn = None


class Listeners:
    """Bolt's listeners. `app` is ready to dispatch; `close` lets go of the threads."""

    def __init__(  # noqa: PLR0917
        self,
        client: WebClient,
        settings: Settings,
        desk: Desk,
        directory: Directory,
        verbs: Verbs,
        direct: Executor | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._desk = desk
        self._directory = directory
        self._verbs = verbs
        self._direct = direct or ThreadPoolExecutor(DIRECT_THREADS, "slack-direct")
        self.bot_user_id: str | None = None
        self.app = App(
            # Bolt only copies the address from it; the token comes from `authorize`, and with both it complains.
            client=WebClient(base_url=client.base_url, timeout=client.timeout, retry_handlers=[]),
            authorize=lambda: self._authorize(),  # noqa: PLW0108 - Bolt would ask for the `self` of a bound method
            signing_secret="checked at our own door",  # noqa: S106 - not a secret: SlackDoor verifies every request
            request_verification_enabled=False,
            process_before_response=True,
            raise_error_for_unhandled_request=True,
            token_verification_enabled=False,
        )
        self._register(self.app)

    def _register(self, app: App) -> None:
        """Bolt fills in arguments by their names and takes `self` for one of them, so it is given plain functions."""

        @app.command(COMMAND)
        def command(ack: Ack, body: dict[str, Any], respond: Respond, context: BoltContext) -> None:
            self._command(ack, body, respond, context.get(TURN))

        @app.action(re.compile(".*"))
        def action(
            ack: Ack, body: dict[str, Any], action: dict[str, Any], respond: Respond, context: BoltContext
        ) -> None:
            self._action(ack, body, action, respond, context.get(TURN))

        @app.view(re.compile(r"modal\..*"))
        def submission(ack: Ack, body: dict[str, Any], view: dict[str, Any], context: BoltContext) -> None:
            self._submission(ack, body, view, context.get(TURN))

        @app.event("reaction_added")
        def reaction(ack: Ack, event: dict[str, Any], body: dict[str, Any]) -> None:
            self._reaction(ack, event, body)

        @app.event("app_mention")
        def mention(ack: Ack, event: dict[str, Any]) -> None:
            self._mention(ack, event)

        @app.error
        def failed(error: Exception, body: dict[str, Any], respond: Respond) -> BoltResponse:
            return self._failed(error, body, respond)

    def close(self) -> None:
        """Lets go of the threads."""
        self._direct.shutdown(wait=False, cancel_futures=True)

    def _authorize(self) -> AuthorizeResult:
        """The one workspace we serve; asks nobody."""
        return AuthorizeResult(
            enterprise_id=None,
            team_id=self._settings.team_id,
            bot_user_id=self.bot_user_id,
            bot_token=self._settings.bot_token.reveal(),
        )

    # -- who asks ---------------------------------------------------------------------------------------------------

    def _serve(
        self, user_id: str, team_id: str, work: Callable[[Actor], Reply], door: Door, acknowledge: Callable[[], object]
    ) -> None:
        """Carries `work` out for this person. Unknown people are looked up after the acknowledgement."""
        actor = self._directory.stranger(user_id, team_id) or self._directory.known(user_id)
        if actor is not None:
            reply = answer_of(work, actor)
            if door.turn is None or door.turn.acquire(blocking=False):
                door.at_once(reply)
            else:
                acknowledge()  # nobody hears it any more, but Bolt would take the request for one without a listener
                door.later(reply)
            return
        acknowledge()

        def late() -> None:
            try:
                found = self._directory.look_up(user_id)
            except Refused as refused:
                door.later(Reply(problem=str(refused)))
            else:
                door.later(answer_of(work, found))

        self._later(late, door.later)

    def _later(self, work: Callable[[], None], tell: Callable[[Reply], None] | None = None) -> None:
        """Does something after the acknowledgement. A bug in it is logged whole, and told in short where one can."""

        def done(future: Future[None]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, Busy):
                log.warning("journal_busy", reason=str(error))
                reply = not_known(error) if isinstance(error, Unsure) else BUSY
            elif error is not None:
                reply = _broken("slack_follow_up_bug", error)
            if error is not None and tell is not None:
                tell(reply)

        self._direct.submit(work).add_done_callback(done)

    # -- slash command ----------------------------------------------------------------------------------------------

    def _command(self, ack: Ack, body: dict[str, Any], respond: Respond, turn: Turn) -> None:
        word, _, rest = heard(str(body.get("text") or "")).strip().partition(" ")
        channel, trigger = str(body.get("channel_id", "")), str(body.get("trigger_id", ""))
        user = str(body.get("user_id", ""))

        def work(actor: Actor) -> Reply:
            asked = Asked(actor, rest.strip(), channel, self._desk.journal.clock(), f"slack:cmd:{trigger}")
            return self._verbs.command(word.lower(), asked)

        def at_once(reply: Reply) -> None:
            message = reply.as_message()
            if message is None:
                ack()
            else:
                ack(text=message.text, blocks=message.blocks, response_type="ephemeral")
            self._follow_up(reply, trigger, lambda more: _say(respond, more))

        def later(reply: Reply) -> None:
            _say(respond, reply)
            self._follow_up(reply, trigger, lambda more: _say(respond, more))

        self._serve(user, str(body.get("team_id", "")), work, Door(at_once, later, turn), ack)

    def _follow_up(self, reply: Reply, trigger: str, say: Callable[[Reply], None]) -> None:
        """What a reply still needs from Slack or from slow sources: a modal to open, a report to wait for."""
        view, slow, unsure = reply.view, reply.slow, reply.unsure
        if unsure is not None and unsure.written is not None:
            unsure.written.add_done_callback(lambda written: self._later(lambda: say(came_of(written))))
        if view is not None:
            self._later(lambda: self._open(trigger, view, say), say)
        if slow is not None:
            self._later(lambda: say(_caught(slow)), say)

    def _open(self, trigger: str, view: Mapping[str, Any], say: Callable[[Reply], None]) -> None:
        try:
            call(self._client.views_open, trigger_id=trigger, view=dict(view))
        except (Transient, Refusal) as failure:
            say(Reply(problem=f"Slack could not open the form ({failure}); please try again."))

    # -- buttons ----------------------------------------------------------------------------------------------------

    def _action(self, ack: Ack, body: dict[str, Any], action: dict[str, Any], respond: Respond, turn: Turn) -> None:
        user = body.get("user") or {}
        trigger = str(body.get("trigger_id", ""))
        view = body.get("view")
        channel = str((body.get("channel") or {}).get("id", ""))
        container = (body.get("container") or {}).get("message_ts") or (view or {}).get("id", "")
        key = f"slack:act:{container}:{action.get('action_ts', trigger)}:{user.get('id')}"

        if view is not None:
            ack()
            if action.get("action_id") == "runbook":
                chosen = str((action.get("selected_option") or {}).get("value", ""))
                self._later(lambda: self._refill(view, chosen))
            return

        def work(actor: Actor) -> Reply:
            asked = Asked(actor, "", channel, self._desk.journal.clock(), key)
            return self._verbs.button(str(action.get("action_id", "")), _value(action), asked)

        def answer(reply: Reply) -> None:
            ack()
            self._later(lambda: _say(respond, reply))
            self._follow_up(reply, trigger, lambda more: _say(respond, more))

        team = str(user.get("team_id") or (body.get("team") or {}).get("id", ""))
        self._serve(str(user.get("id", "")), team, work, Door(answer, answer, turn), ack)

    def _refill(self, view: Mapping[str, Any], runbook: str) -> None:
        """The run form again, with the fields of the runbook that was just chosen."""
        fresh = self._verbs.run_form(str(view.get("private_metadata", "")), runbook)
        try:
            call(self._client.views_update, view_id=view["id"], hash=view.get("hash"), view=fresh)
        except (Transient, Refusal) as failure:
            log.info("form_not_refilled", reason=str(failure))

    # -- forms ------------------------------------------------------------------------------------------------------

    def _submission(self, ack: Ack, body: dict[str, Any], view: dict[str, Any], turn: Turn) -> None:
        user = body.get("user") or {}
        values = modals.values(view.get("state") or {})
        key = f"slack:view:{view.get('root_view_id') or view.get('id')}"

        def work(actor: Actor) -> Reply:
            asked = Asked(actor, "", "", self._desk.journal.clock(), key)
            return self._verbs.form(str(view.get("callback_id")), str(view.get("private_metadata", "")), values, asked)

        def whisper(reply: Reply) -> None:
            self._whisper(str(user.get("id", "")), str(view.get("private_metadata", "")), reply)

        def at_once(reply: Reply) -> None:
            if reply.problem:
                problem = PRESS_AGAIN if reply.unsure else reply.problem
                ack(response_action="errors", errors={reply.field or modals.first_input(view): problem})
            else:
                ack()

        def later(reply: Reply) -> None:
            if reply.problem:
                whisper(reply)
                self._follow_up(reply, "", whisper)

        self._serve(str(user.get("id", "")), str(user.get("team_id", "")), work, Door(at_once, later, turn), ack)

    def _whisper(self, user: str, metadata: str, reply: Reply) -> None:
        """An answer to somebody whose form has already closed, where they can see it."""
        try:
            incident = self._verbs.incident_of(metadata)
        except Busy:
            incident = None
        channel = incident.channel if incident and incident.channel else self._settings.intake_channel
        message = reply.as_message()
        if message is not None:
            self._say_alone(channel, user, text=message.text, blocks=message.blocks)

    def _say_alone(self, channel: str, user: str, **message: Any) -> None:
        """Something that nobody else sees. Tried once; what was done stands either way."""
        try:
            call(self._client.chat_postEphemeral, channel=channel, user=user, **message)
        except (Transient, Refusal) as failure:
            log.warning("answer_not_delivered", reason=str(failure))

    # -- events -----------------------------------------------------------------------------------------------------

    def _reaction(self, ack: Ack, event: dict[str, Any], body: dict[str, Any]) -> None:
        """A message somebody marked joins the timeline. Its text must be fetched, so the acknowledgement goes first."""
        ack()
        item = event.get("item") or {}
        if event.get("reaction") != self._settings.pin_reaction or item.get("type") != "message":
            return
        self._later(lambda: self._pin(event, str(body.get("event_id", ""))))

    def _pin(self, event: Mapping[str, Any], event_id: str) -> None:
        channel, ts, user = event["item"]["channel"], event["item"]["ts"], str(event["user"])
        try:
            incident = self._desk.journal.by_channel(channel)
            if incident is None:
                return
            actor = self._directory.look_up(user)
            message = self._message(channel, ts)
            link = call(self._client.chat_getPermalink, channel=channel, message_ts=ts).get("permalink", "")
            self._desk.handle(
                cmd.PinMessage(
                    incident=incident.id,
                    by=actor,
                    at=datetime.fromtimestamp(float(ts), UTC),
                    key=f"slack:pin:{channel}:{ts}",  # the message counts once, whoever marks it how often
                    source="slack",
                    source_id=event_id,
                    text=heard(str(message.get("text", ""))),
                    author=str(message.get("user") or message.get("bot_id") or user),
                    link=str(link),
                )
            )
        except Unsure:
            again = "The journal does not say whether that message is in the timeline. React once more: it counts once."
            self._say_alone(channel, user, text=again)
        except (Refused, Busy, Transient, Refusal) as failure:
            self._say_alone(channel, user, text=f"That message did not make it into the timeline: {failure}")

    def _message(self, channel: str, ts: str) -> Mapping[str, Any]:
        exact = {"channel": channel, "latest": ts, "oldest": ts, "inclusive": True}
        found = call(self._client.conversations_history, **exact, limit=1).get("messages", [])
        if not found:  # a reply: what heads its thread comes with it
            found = call(self._client.conversations_replies, **exact, limit=2, ts=ts).get("messages", [])
        match = next((message for message in found if message.get("ts") == ts), None)
        if match is None:
            raise Refused("the message could not be found any more.")
        return dict(match)

    def _mention(self, ack: Ack, event: dict[str, Any]) -> None:
        ack()
        message = cards.help_card(self._verbs.context)
        self._later(lambda: self._say_alone(event["channel"], event["user"], text=message.text, blocks=message.blocks))

    # -- what nobody foresaw ----------------------------------------------------------------------------------------

    def _failed(self, error: Exception, body: dict[str, Any], respond: Respond) -> BoltResponse:
        """Unmatched requests are answered 200, or Slack sends them again; a bug is logged whole and told in short."""
        if isinstance(error, BoltUnhandledRequestError):
            log.info("slack_request_without_listener", type=body.get("type") or body.get("command"))
            return BoltResponse(status=200)
        broken = _broken("slack_listener_bug", error)
        if body.get("type") == "view_submission":
            # An empty answer would close the form with all that was written in it.
            errors = {modals.first_input(body["view"]): broken.problem}
            return BoltResponse(status=200, body={"response_action": "errors", "errors": errors})
        if body.get("response_url"):
            self._later(lambda: _say(respond, broken))
        return BoltResponse(status=200)


def answer_of(work: Callable[[Actor], Reply], actor: Actor) -> Reply:
    """The reply, or the sentence why not."""
    return _caught(lambda: work(actor))


def _caught(work: Callable[[], Reply]) -> Reply:
    try:
        return work()
    except Refused as refused:
        return Reply(problem=str(refused))
    except Unsure as unsure:
        return not_known(unsure)
    except Busy:
        return BUSY


def _say(respond: Respond, reply: Reply) -> None:
    """Tells the person by response_url, visible to nobody else. Tried once; what was done stands either way."""
    message = reply.as_message()
    if message is None or respond.response_url is None:
        return
    whisper = {"response_type": "ephemeral", "replace_original": False}
    try:
        respond_at(respond.response_url, text=message.text, blocks=message.blocks, **whisper)
    except (Transient, Refusal) as failure:
        log.warning("answer_not_delivered", reason=str(failure))


def _value(action: Mapping[str, Any]) -> str:
    if action.get("type") == "overflow" or action.get("action_id") == Do.MORE:
        return str((action.get("selected_option") or {}).get("value", ""))
    return str(action.get("value", ""))


def _broken(event: str, error: BaseException) -> Reply:
    """Logs a bug with its traceback under a reference, and gives the sentence that names it."""
    ref = uuid.uuid4().hex[:8]
    log.error(event, ref=ref, exc_info=error)
    return Reply(problem=f"Something broke on our side (reference {ref}); the log has the details.")
