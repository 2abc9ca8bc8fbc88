"""A small faultless runbook, and a way to change one line of it."""

from collections.abc import Callable

import pytest

from bot.runbook.model import Fault, Runbook
from bot.runbook.shelf import check

GOOD = """\
---
runbook: 1
id: warm-cache
title: Warm the cache
owner: team-a
alerts: [CacheCold]
params:
  model: {from: alert.labels.model_name, type: model_name}
  node: {from: alert.labels.node, type: k8s_name, default: node-1}
lock: cache/{{ model }}
---
# Warm the cache
When answers are slow
after a restart.
## Steps
### 1. Is it cold?
Look before you act.
```yaml step
id: check-cold
do: promql.assert
with: {query: 'hits{model="{{ model }}"}', expect: "< 0.5"}
```
### 2. Have a look
- [ ] {{ node }} is up
- [ ] Nobody else is at it
### 3. Warm {{ model }}
> [!WARNING]
> Slow for a minute.

```yaml step
id: warm
do: http.request
with:
  endpoint: warm
  model: "{{ model }}"
timeout: 1m30s
verify: {query: 'hits{model="{{ model }}"}', expect: "> 0.5", for: 30s, within: 5m}
undo: {none: a warm cache does no harm}
```
"""


@pytest.fixture(scope="session")
def text() -> str:
    """The good file as it is written."""
    return GOOD


@pytest.fixture
def good() -> Runbook:
    runbook, faults = check(GOOD, "runbooks/warm-cache.md")
    assert faults == []
    assert runbook is not None
    return runbook


@pytest.fixture
def changed() -> Callable[[str, str], list[Fault]]:
    """The faults after one replacement in the good file."""

    def change(old: str, new: str) -> list[Fault]:
        assert GOOD.count(old) == 1, f"{old!r} must stand in the file exactly once"
        runbook, faults = check(GOOD.replace(old, new), "runbooks/warm-cache.md")
        assert (runbook is None) == bool(faults)
        return faults

    return change
