"""Puts a picture into a message that is there already. The words never wait for it, and without it they still stand.

A file is uploaded in three calls, and then Slack looks at it for a moment in which it refuses every block that names
it, with `invalid_blocks` and nothing else to go by (slackapi/java-slack-sdk#1349, python-slack-sdk#1658). To ask when
it is ready takes a scope that reads all files of the workspace; so we try, a little later each time.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from slack_sdk import WebClient

from bot.contracts import Again, Attempt, Delivered, Transient
from bot.incident.effects import ShowPicture
from bot.incident.events import PictureShown
from bot.incident.state import Incident
from bot.slack.client import Refusal, call

Pictures = Callable[[str, str], bytes | None]
"""The PNG kept with an evidence: by the incident's id and the evidence's."""

FIRST_PAUSE: Final = timedelta(seconds=1)
TRIES: Final = 5
"""After 1, 3, 7, 15 and 31 s Slack has looked at any picture that it will ever show."""
LONGEST_PAUSE: Final = timedelta(seconds=30)
"""Between two looks whether a report has a message by now; where Slack refuses us it may never have one."""
GIVE_UP_AFTER: Final = timedelta(minutes=10)
"""A picture that comes later than this helps nobody with what it shows."""


class PictureCourier:
    """Uploads once and shows it when Slack is ready. Says in the end that it is there, or why it is not."""

    def __init__(self, client: WebClient, pictures: Pictures) -> None:
        self._client = client
        self._pictures = pictures

    def show(self, effect: ShowPicture, incident: Incident, attempt: Attempt, into: Callable[[str], None]) -> Delivered:
        """`into` puts the file of this id into the message. Raises Transient."""
        if incident.pictures.get(effect.evidence):
            return []
        file = str(attempt.progress.get("file", ""))
        try:
            if not file:
                file = self._upload(effect, incident)
                if not file:
                    return [PictureShown(effect.evidence, reason="it is not kept any more")]
                return Again(attempt.now + FIRST_PAUSE, {"file": file})
            into(file)
        except Refusal as refusal:
            tries = int(attempt.progress.get("tries", 0)) + 1
            if refusal.error != "invalid_blocks" or not file or tries >= TRIES:
                return [PictureShown(effect.evidence, reason=str(refusal))]
            return Again(attempt.now + FIRST_PAUSE * 2**tries, {"file": file, "tries": tries})
        except Transient as failure:
            if is_late(attempt):
                return [PictureShown(effect.evidence, reason=str(failure))]
            raise
        return [PictureShown(effect.evidence, file)]

    @staticmethod
    def wait(effect: ShowPicture, attempt: Attempt, why: str) -> Delivered:
        """For a report that is still on its way to the channel."""
        if is_late(attempt):
            return [PictureShown(effect.evidence, reason=why)]
        return later(attempt)

    def _upload(self, effect: ShowPicture, incident: Incident) -> str:
        """The file's id; empty when there is nothing to upload. It is ours alone until a message shows it."""
        content = self._pictures(incident.id, effect.evidence)
        if content is None:
            return ""
        name = f"{incident.ref}-{effect.evidence}.png"
        answer = call(self._client.files_upload_v2, content=content, filename=name, title=f"{incident.ref} {name}")
        return str(answer["files"][0]["id"])


def later(attempt: Attempt) -> Again:
    """Once more after 1, 2, 4 ... 30 s: for what waits for a message that is still on its way."""
    waits = int(attempt.progress.get("waits", 0))
    pause = min(FIRST_PAUSE * 2 ** min(waits, 10), LONGEST_PAUSE)
    return Again(attempt.now + pause, {**attempt.progress, "waits": waits + 1})


def is_late(attempt: Attempt) -> bool:
    """Whether what an effect wants would come too late to help anybody."""
    return attempt.since is not None and attempt.now - attempt.since > GIVE_UP_AFTER
