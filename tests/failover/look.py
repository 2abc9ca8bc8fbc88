"""What the tests of a fail-over look at: the intake channel, and who presses the button there."""

from bot.slack.actions import Do
from tests.story.night import INTAKE, Night, action_ids, told


def looks(night: Night) -> None:
    """What a few seconds bring: a change is noticed, said, and what the world knows is compared."""
    for _ in range(3):
        night.app.crier.look()
        night.settle()


def notices(night: Night) -> str:
    """All that stands in the intake channel."""
    return " ".join(told(message) for message in night.messages(INTAKE))


def presses_confirm(night: Night, user: str) -> str:
    """The button under the notice; what the person was told about it."""
    (notice,) = (m for m in night.messages(INTAKE) if Do.FAILOVER in action_ids(m))
    return night.clicks(user, notice, Do.FAILOVER)


def is_frozen(night: Night) -> bool:
    return night.app.journal.write(lambda txn: txn.standing()).result().frozen
