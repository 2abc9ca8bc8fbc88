"""How alerts that come in together reach the disk together, and how one bad message keeps to itself."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from bot.incident.events import Severity
from bot.intake.alerts import Delivery, Message
from bot.journal import Busy
from bot.web import intake as room
from bot.web.intake import ALERTS_TOGETHER, CAPACITY, Intake
from tests.clocked import by_the_clock


def message(name: str, alerts: int = 1) -> Message:
    at = datetime(2026, 11, 21, 3, tzinfo=UTC)
    delivery = Delivery(name, True, name, name, Severity.SEV1, "chat", "llama", "", {}, at, None)
    return Message("alertmanager", (delivery,) * alerts)


class Disk:
    """The journal as seen from the door: commits when told, and refuses a batch with a message called `bad`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._asked = asyncio.Condition()
        self._open: list[tuple[list[str], Future[list[int]]]] = []

    def receive(self, messages: Sequence[Message]) -> "Future[list[int]]":
        names = [item.deliveries[0].name for item in messages]
        self.batches.append(names)
        future: Future[list[int]] = Future()
        self._open.append((names, future))
        self._told = asyncio.create_task(self._tell())
        return future

    async def _tell(self) -> None:
        async with self._asked:
            self._asked.notify_all()

    async def asked(self, times: int) -> list[list[str]]:
        """Every batch there was, once it was asked to write so many."""
        async with self._asked, asyncio.timeout(5):
            await self._asked.wait_for(lambda: len(self.batches) >= times)
        return self.batches

    async def commit(self) -> None:
        """Everything under way is written, and everybody has heard of it."""
        under_way, self._open = self._open, []
        for names, future in under_way:
            if "bad" in names:
                future.set_exception(ValueError("cannot be written"))
            else:
                future.set_result([1] * len(names))
        for _ in range(5):
            await asyncio.sleep(0)


async def come_in(intake: Intake, *messages: Message) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(intake.take(item)) for item in messages]
    await asyncio.sleep(0)
    return tasks


def test_what_comes_in_during_a_commit_goes_into_the_next_together() -> None:
    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        tasks = await come_in(intake, message("a"), message("b"), message("c"))
        assert disk.batches == [["a"]]
        await disk.commit()
        assert await disk.asked(2) == [["a"], ["b", "c"]]
        assert tasks[0].done()
        assert not tasks[1].done(), "nobody hears 2xx before the commit"
        await disk.commit()
        assert [await task for task in tasks] == [1, 1, 1]

    asyncio.run(story())


def test_those_who_were_answered_together_are_waited_for_and_written_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "GATHER_S", 60.0)

    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        await come_in(intake, message("a"), message("b"))
        await disk.commit()
        assert disk.batches == [["a"]], "b waited, and a is likely to come again"
        await come_in(intake, message("a again"))
        assert disk.batches[1:] == [["b", "a again"]]
        await disk.commit()
        await come_in(intake, message("b again"), message("a once more"))
        assert disk.batches[2:] == [["b again", "a once more"]]
        await disk.commit()

    asyncio.run(story())


def test_nobody_waits_long_for_who_does_not_come_again() -> None:
    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        await come_in(intake, message("a"), message("b"))
        await disk.commit()
        assert (await disk.asked(2))[1:] == [["b"]]
        await disk.commit()
        await come_in(intake, message("alone"))
        assert disk.batches[2:] == [["alone"]], "whoever is alone is written at once"
        await disk.commit()

    asyncio.run(story())


def test_one_that_cannot_be_written_does_not_take_its_neighbours_with_it() -> None:
    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        first, good, bad, last = await come_in(intake, *map(message, ("first", "good", "bad", "last")))
        await disk.commit()
        await disk.asked(2)
        await disk.commit()
        await disk.commit()
        assert [await first, await good, await last] == [1, 1, 1]
        with pytest.raises(ValueError, match="cannot be written"):
            await bad

    asyncio.run(story())


def test_a_commit_holds_only_so_many_alerts_so_that_a_click_waits_milliseconds() -> None:
    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        half = ALERTS_TOGETHER // 2
        await come_in(intake, message("a"), message("b", half), message("c", half), message("d", half))
        await disk.commit()
        assert (await disk.asked(2))[1:] == [["b", "c"]]
        await disk.commit()
        assert (await disk.asked(3))[2:] == [["d"]]
        await disk.commit()

    asyncio.run(story())


def test_a_full_journal_says_so_to_everybody_who_waits() -> None:
    async def story() -> None:
        def full(_: Sequence[Message]) -> "Future[list[int]]":
            raise Busy("too much is waiting")

        (task,) = await come_in(Intake(full), message("a"))
        with pytest.raises(Busy):
            await task

    asyncio.run(story())


def test_too_many_waiting_are_turned_away_at_once() -> None:
    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        tasks = await come_in(intake, *(message(str(number)) for number in range(CAPACITY + 2)))
        assert sum(task.done() for task in tasks) == 1
        with pytest.raises(Busy):
            await tasks[-1]
        while not all(task.done() for task in tasks):
            await disk.commit()
        assert sum(await asyncio.gather(*tasks[:-1])) == CAPACITY + 1

    asyncio.run(story())


def test_alerts_that_wait_are_bounded_whatever_messages_they_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ALERTS", 1_000)

    async def story() -> None:
        disk = Disk()
        intake = Intake(disk.receive)
        for _ in range(2):  # what was written or turned away counts no more
            under_way, *waiting = await come_in(intake, message("a", 600), message("b", 600), message("c", 400))
            (one_more,) = await come_in(intake, message("d"))
            assert [task.done() for task in (under_way, *waiting, one_more)] == [False, False, False, True]
            with pytest.raises(Busy, match="too many alerts are waiting"):
                await one_more
            tasks = [under_way, *waiting]
            while not all(task.done() for task in tasks):
                await disk.commit()
            assert await asyncio.gather(*tasks) == [1, 1, 1]

    asyncio.run(story())


def test_after_a_journal_that_did_not_answer_alerts_may_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ALERTS", 1_000)
    monkeypatch.setattr(room, "COMMIT_WITHIN_S", 0.05)

    class Once(Intake):
        """Gives up once; whoever comes then has all the time that a slow machine needs."""

        def _give_up(self, flight: room.Flight) -> None:
            monkeypatch.setattr(room, "COMMIT_WITHIN_S", 60.0)
            super()._give_up(flight)

    async def story() -> None:
        disk = Disk()
        intake = Once(disk.receive)
        late = await come_in(intake, message("a"), message("b", 900))
        assert all(isinstance(said, Busy) for said in await asyncio.gather(*late, return_exceptions=True))
        again = await come_in(intake, message("b", 900), message("c"))
        assert not any(task.done() for task in again)
        while not all(task.done() for task in again):
            await disk.commit()
        assert await asyncio.gather(*again) == [1, 1]

    asyncio.run(story())


def test_a_message_larger_than_all_that_may_wait_is_taken_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ALERTS", 1_000)

    async def story() -> None:
        disk = Disk()
        (task,) = await come_in(Intake(disk.receive), message("a", 1_200))
        await disk.commit()
        assert await task == 1

    asyncio.run(story())


@by_the_clock
def test_in_a_storm_the_log_says_now_and_then_what_came_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TELL_EVERY_S", 0.2)

    async def story() -> list[int]:
        disk = Disk()
        intake = Intake(disk.receive)
        with capture_logs() as lines:
            for name in ("a", "b", "c"):
                await come_in(intake, message(name, alerts=2))
                await disk.commit()
            assert [line["alerts"] for line in lines] == [2], "the first is told at once"
            async with asyncio.timeout(5):
                while len(lines) < 2:
                    await asyncio.sleep(0)
        return [line["alerts"] for line in lines]

    assert asyncio.run(story()) == [2, 4]
