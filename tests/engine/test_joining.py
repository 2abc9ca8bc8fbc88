"""What joins an effect that already waits is part of it, whoever is about to carry it out."""

from concurrent.futures import Future, ThreadPoolExecutor

from bot.incident import commands as cmd
from bot.incident.effects import Effect, RefreshCard
from bot.incident.events import ChannelOpened
from bot.incident.people import BOT
from bot.incident.state import Incident
from bot.journal import Job, Txn
from tests.engine.replica import Cluster, Replica, until

WAITS_FOR_A_LOCK = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def refresh_waits(server: Replica) -> Job | None:
    return next((job for job in server.outbox.ready() if isinstance(job.effect, RefreshCard)), None)


def test_a_channel_that_opens_while_another_server_takes_the_card_has_the_card_in_the_end(queued: Cluster) -> None:
    here, there = queued.joins(), queued.joins()
    here.fires("chat")
    for group in here.journal.waiting_groups():
        here.desk.drain(group).result()
    (incident,) = here.journal.live()
    card = refresh_waits(there)
    assert card is not None
    shown_in: list[str] = []

    def act(_server: str, _effect: Effect, incident: Incident) -> None:
        shown_in.append(incident.channel)

    queued.world.act = act
    opened = cmd.RecordReceipt(
        incident=incident.id,
        by=BOT,
        at=here.journal.clock(),
        key="opened",
        source="test",
        events=(ChannelOpened("C0INC1", "inc-1"),),
    )
    with ThreadPoolExecutor() as pool:

        def opens(txn: Txn) -> "Future[None]":
            here.desk.execute(txn, opened)
            showing = pool.submit(there.outbox.deliver, card.id)
            until(lambda: showing.done() or queued.sql(WAITS_FOR_A_LOCK) != [(0,)])
            return showing

        here.journal.write(opens).result().result()
    assert shown_in == ["C0INC1"] or refresh_waits(here), "else it is never shown there"
