# The two commands a newcomer needs are `make try` and `make test`; the rest are their parts.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: try test reference test-kubernetes test-unleash check chaos bench clean lock

try: $(VENV)/.installed
	$(BIN)/fixfirst try

# A process for each core first; then, one by one, what needs the machine to itself.
test: check
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder -m "not alone"
	$(BIN)/pytest -m alone

# Beside the project: real scrapes, payloads and schemas that a clone does not have, in the folder DATA.
reference: $(VENV)/.installed
	@test -d "$(DATA)" || { echo "make reference DATA=FOLDER: $(DATA) is no folder of reference data" >&2; exit 2; }
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup --reference "$(DATA)" tests/reference tests/story

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All of what `make test` does a part of: nights of kills, a death at every commit and call of one, three servers beside
# one, long outages, a long walk beside the plain model. What is counted is in docs/chaos.md.
chaos: $(VENV)/.installed
	CHAOS=all $(BIN)/pytest tests/chaos tests/faults tests/journal/test_replicas.py tests/model

# The steps of Kubernetes against a real API server, built once into the user's cache (eleven minutes of two cores).
# FIXFIRST_KUBERNETES=record make test-kubernetes also renews what `make test` plays back.
test-kubernetes: $(VENV)/.installed
	FIXFIRST_KUBERNETES=$${FIXFIRST_KUBERNETES:-real} $(BIN)/pytest -m kubernetes tests/kubernetes

# Against a real Unleash; writes down what was said, for `make test` to play back. npm brings the Node that it wants.
test-unleash: $(VENV)/.installed
	mkdir -p build/unleash
	npm install --no-audit --no-fund --prefix build/unleash node@22 unleash-server@8.2.0
	FIXFIRST_TEST_UNLEASH=build/unleash $(BIN)/pytest tests/integrations/test_flag_unleash.py

bench: $(VENV)/.installed
	$(BIN)/python -m tests.bench

# Hash-checked, so what was reviewed is what runs; --no-deps for our own package keeps it that way.
$(VENV)/.installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --quiet --group build -o requirements.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --quiet --extra otel --extra drift --extra gpu --group build --group dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache
