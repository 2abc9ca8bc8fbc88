"""What the last lines of a container say of its end, and what stands in the report for it."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contracts import Container, Permanent, Transient
from bot.health import Observation, Sample, Settings, Situation, catalogue, judge
from bot.health.logs import LINES, LONGEST, Kind, Logs, ended, log_signal, telling

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
SERVES = "INFO 11-21 03:00:12 [async_llm.py:261] Added request cmpl-7a."
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB "
    "of which 1.19 GiB is free."
)
DEAD = "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above)."
LINES_OF = {
    Kind.XID: "[11881.443] NVRM: Xid (PCI:0000:3b:00): 79, pid=1411, GPU has fallen off the bus.",
    Kind.GPU_OOM: OOM,
    Kind.HOST_OOM: "Memory cgroup out of memory: Killed process 4711 (python3) total-vm:9000kB",
    Kind.GPU_FAULT: "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    Kind.NCCL: "[rank3]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=81, OpType=ALLREDUCE)",
    Kind.CRASH: "Fatal Python error: Segmentation fault",
    Kind.ENGINE: DEAD,
}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.HOST_OOM])
def test_each_end_is_known_by_what_servers_really_write(kind: Kind) -> None:
    found = log_signal([SERVES, LINES_OF[kind], SERVES])
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize("said", ["OOMKilled", "Out of memory: Killed process 4711 (python3)", "std::bad_alloc"])
def test_the_hosts_memory_is_told_from_the_gpus(said: str) -> None:
    found = log_signal([said])
    assert found is not None
    assert found.kind is Kind.HOST_OOM


def test_what_the_engine_died_of_goes_before_that_it_died() -> None:
    found = log_signal([OOM, DEAD, DEAD])
    assert found is not None
    assert found.kind is Kind.GPU_OOM
    assert found.line.startswith("torch.OutOfMemoryError")


def test_lines_of_any_day_tell_nothing() -> None:
    assert log_signal([SERVES, "GPU KV cache usage: 91.2%", "memory profiling takes 4.1 s"]) is None


def test_secrets_do_not_come_along() -> None:
    (told,) = telling([f"{OOM} token=ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"])
    assert "ghp_" not in told


@given(st.lists(st.text()))
def test_no_line_at_all_breaks_the_reading(lines: list[str]) -> None:
    log_signal(lines)
    assert all(len(told) <= LONGEST for told in telling(lines))


# -- in the report ---------------------------------------------------------------------------------------------------


class Written:
    """A log as it stands somewhere."""

    def __init__(self, *lines: str, fails: Exception | None = None) -> None:
        self.lines, self.fails = lines, fails
        self.asked: list[Container] = []

    def tail(self, container: Container, now: datetime) -> Sequence[str]:
        self.asked.append(container)
        if self.fails:
            raise self.fails
        return self.lines


def restarts(*pods: str, status: str = "crit") -> Observation:
    series = tuple(Sample({"namespace": "chat", "pod": pod, "container": "vllm"}, 4) for pod in pods)
    return Observation("E3", "engine", "Restarts", status, 4, "4 container restarts", "vllm-0", "", "model", series)  # type: ignore[arg-type]


def test_a_gpu_out_of_memory_is_the_cause_in_words() -> None:
    seen = [restarts("vllm-0")]
    (log,) = Logs([Written(SERVES, OOM, DEAD)]).look(seen, NOW, 5)
    assert log.status == "crit"
    assert log.text.startswith("GPU OOM seen in the log of chat/vllm-0: torch.OutOfMemoryError: CUDA out of memory.")
    assert [sample.labels["kind"] for sample in log.series] == ["GPU OOM", "GPU OOM"]
    assert ended(log) is Kind.GPU_OOM
    users = [
        Observation(check.id, check.group, check.title, "ok", 0, check.id, "", "", "model")
        for check in catalogue(Settings())
        if check.id in ("U1", "U2")
    ]
    report = judge(Situation((*users, *seen, log)), NOW)
    assert "GPU OOM seen in the log of chat/vllm-0" in report.cause
    assert Observation.from_dict(log.to_dict()) == log


def test_where_nothing_restarts_no_log_is_read() -> None:
    log = Written(OOM)
    assert Logs([log]).look([restarts("vllm-0", status="ok")], NOW, 5) == ()
    assert log.asked == []


def test_with_no_way_to_read_logs_nothing_is_said_of_them() -> None:
    assert Logs([]).look([restarts("vllm-0")], NOW, 5) == ()


def test_at_most_three_containers_are_read_and_twenty_lines_kept() -> None:
    log = Written(*(f"{OOM} {number}" for number in range(30)))
    (seen,) = Logs([log]).look([restarts("a", "b", "c", "d")], NOW, 5)
    assert sorted(one.pod for one in log.asked) == ["a", "b", "c"]
    assert len(seen.series) == LINES


def test_where_loki_does_not_answer_the_cluster_is_asked() -> None:
    (seen,) = Logs([Written(fails=Transient("Loki cannot be reached")), Written(OOM)]).look([restarts("a")], NOW, 5)
    assert "GPU OOM" in seen.text


@pytest.mark.parametrize("first", [Written(), Written(SERVES)], ids=["nothing", "nothing of the end"])
def test_where_one_log_says_nothing_of_the_end_the_next_is_asked(first: Written) -> None:
    (seen,) = Logs([first, Written(OOM)]).look([restarts("a")], NOW, 5)
    assert "GPU OOM" in seen.text


def test_a_log_without_a_line_is_not_seen_and_never_green() -> None:
    (seen,) = Logs([Written(), Written()]).look([restarts("a")], NOW, 5)
    assert (seen.status, seen.text) == ("unknown", "the log of chat/a is empty")
    (seen,) = Logs([Written(fails=Permanent("Loki has no line")), Written()]).look([restarts("a")], NOW, 5)
    assert (seen.status, seen.text) == ("unknown", "Loki has no line")


def test_what_cannot_be_read_is_not_seen_and_says_why() -> None:
    tails = [Written(fails=Transient("Loki cannot be reached")), Written(fails=Permanent("no cluster"))]
    (seen,) = Logs(tails).look([restarts("a")], NOW, 5)
    assert (seen.status, seen.text) == ("unknown", "Loki cannot be reached")
    assert "Log: Loki cannot be reached" in judge(Situation((seen, restarts("a"))), NOW).unknowns


def test_a_log_that_tells_nothing_is_no_cause() -> None:
    (seen,) = Logs([Written(SERVES)]).look([restarts("vllm-0")], NOW, 5)
    assert (seen.status, seen.text) == ("ok", "the log of chat/vllm-0 does not tell why it ended")


def test_a_log_that_hangs_holds_nobody_up() -> None:
    released = threading.Event()

    class Hanging:
        def tail(self, container: Container, now: datetime) -> Sequence[str]:
            released.wait(30)
            return ()

    began = time.monotonic()
    (seen,) = Logs([Hanging()]).look([restarts("a")], NOW, 0.1)
    took = time.monotonic() - began
    released.set()
    assert took < 10
    assert seen.text == "no log came within 0.1 s"
