"""What is found outside the numbers: the logs of what restarts, and links to where people look on."""

from pathlib import Path

from bot.incident import events as ev
from bot.incident.state import Status
from tests.health.conftest import Past
from tests.integrations.answering import answering
from tests.story.night import MAYA, open_night, told
from tests.story.telemetry import AGO, Fault, gpus, remembering, vllm, watched

OOM = "torch.OutOfMemoryError: CUDA out of memory. HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz0123456789"
LINKS = """[links]
Grafana = "https://grafana.example.com/d/llm?var-model={model}&from={from_ms}"
GPU = "https://gpus.example.com/{gpu}"

"""


def test_what_the_log_of_a_restarting_container_tells_is_the_cause(tmp_path: Path) -> None:
    past = Past()
    vllm(past, Fault(errors=0.3, until=0), namespace="chat", pod="vllm-0")
    gpus(past)
    container = {"namespace": "chat", "pod": "vllm-0", "container": "vllm"}
    past.counter("kube_pod_container_status_restarts_total", container, 1 / 60)
    with answering() as loki, remembering(tmp_path / "telemetry", past) as url:
        loki.says({"stream": {"pod": "vllm-0"}, "values": [["1763694243000000000", OOM]]})
        with watched(tmp_path, url, f'[loki]\nurl = "{loki.url}"\n\n') as night:
            night.clock.after(seconds=AGO)
            night.burns()
            (found,) = night.events(ev.EvidenceCollected)
            assert "GPU OOM seen in the log of chat/vllm-0: torch.OutOfMemoryError" in found.cause
            assert "GPU OOM seen in the log" in told(night.card)
            night.through(seconds=5)
            thread = [told(m) for m in night.messages() if "From the logs" in told(m)]
            assert any("vllm-0: torch.OutOfMemoryError" in one for one in thread)
            everything = "".join(told(message) for message in night.messages())
            assert "hf_abcdef" not in everything, "no secret comes along"


def test_links_stand_on_the_card_and_in_the_postmortem(tmp_path: Path) -> None:
    with open_night(tmp_path, settings={"[prometheus]\n": f"{LINKS}[prometheus]\n"}) as night:
        night.burns()
        assert "<https://grafana.example.com/d/llm?var-model=llama-70b&amp;from=" in told(night.card)
        assert "gpus.example.com" not in told(night.card), "none of its alerts names a GPU"
        night.types(MAYA, "/incident ack", night.incident.channel)
        night.recovers()
        night.types(MAYA, "/incident resolve rolled back", night.incident.channel)
        assert night.stands(Status.RESOLVED)
        assert "grafana.example.com/d/llm?var-model=llama-70b" in (
            night.app.shelf.read(night.incident.postmortem) or ""
        )
