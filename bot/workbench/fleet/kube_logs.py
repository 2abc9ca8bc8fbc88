"""What the container before the present one wrote at its end, as vLLM writes it."""

from __future__ import annotations

from typing import Final

from bot.workbench.fleet.fleet import View

OUT_OF_MEMORY: Final = """\
INFO gpu_worker.py: Starting to load model {model}, revision {revision}
INFO kv_cache_utils.py: Maximum concurrency for 32,768 tokens per request: 9.41x
ERROR core.py: EngineCore encountered a fatal error.
ERROR core.py: Traceback (most recent call last):
ERROR core.py:   File "vllm/v1/worker/gpu_model_runner.py", in execute_model
ERROR core.py: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of \
79.10 GiB of which 1.19 GiB is free.
ERROR async_llm.py: vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above).
"""
UNREADABLE: Final = """\
INFO gpu_worker.py: Starting to load model {model}, revision {revision}
ERROR core.py: safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge
ERROR api_server.py: RuntimeError: Engine core initialization failed. See root cause above.
"""


def previous_log(view: View, pod: str, lines: int) -> str | None:
    """The last lines; None where no container of that pod has ended."""
    for deployment in view.running():
        for replica in deployment.replicas:
            if replica.pod == pod and replica.crashes:
                text = OUT_OF_MEMORY if replica.oom_every_s else UNREADABLE
                told = text.format(model=deployment.spec.name, revision=replica.revision).splitlines(keepends=True)
                return "".join(told[-lines:])
    return None
