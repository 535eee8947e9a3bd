# Every target sets up what it needs in .venv; a fresh clone needs Python 3.11+ and the package
# registries, nothing else.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Two threads of numpy on two cores fight with the loop over devices; one is faster.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help simulate test test-all chaos lint types bench bench-device bench-privacy bench-transport bench-utility bench-speed bench-history docs demo-compliance mutations clean

help: ## Say what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/pip: 
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	@touch $@

# torch first and by version: without it pip takes the newest, on Linux with all of CUDA.
$(VENV)/simulation: $(VENV)/pip pyproject.toml
	$(PIP) "$(TORCH)"
	$(PIP) --editable ".[simulation]"
	@touch $@

$(VENV)/dev: $(VENV)/simulation
	$(PIP) --editable ".[simulation,ray,device,accelerate,review]" --group dev
	@touch $@

simulate: $(VENV)/simulation ## Train on Complete Journey at epsilon 4 and rank on a device
	$(BIN)/homebody simulate

lint: $(VENV)/dev ## Formatting, ruff, import contracts
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/lint-imports

types: $(VENV)/dev ## mypy, strict
	$(BIN)/mypy

test: lint types ## All gates and the tests of every day (under 15 minutes on two cores)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=
	$(BIN)/coverage report --include='privacy/*' --fail-under=95
	$(BIN)/coverage report | grep TOTAL

test-all: lint types ## Also the tests that take minutes each
	$(BIN)/python -m pytest -m "slow or chaos or not slow"

chaos: $(VENV)/dev ## Seeded accidents to rounds and fleets (under 15 minutes on two cores)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m chaos tests/chaos

bench: bench-device bench-privacy bench-transport bench-utility bench-speed ## Every figure of README and docs (about an hour and a half)

bench-device: $(VENV)/dev ## What a device takes: time, memory, disk, each beside a reference (minutes)
	$(BIN)/python benchmarks/device.py

bench-privacy: $(VENV)/dev ## Accounting against the reference, noise of running sums, speed (minutes)
	$(BIN)/python benchmarks/privacy.py

bench-transport: $(VENV)/dev ## What sealing and secure sums cost: a node, the server, a whole run (minutes)
	$(BIN)/python benchmarks/transport.py

bench-utility: $(VENV)/dev ## What epsilon buys: the small cards of docs/utility.md (minutes)
	$(BIN)/python benchmarks/utility

bench-speed: $(VENV)/dev ## Devices a second, beside pfl, fedjax and Flower in the same run (15 minutes; the first time more)
	TORCH="$(TORCH)" $(BIN)/python benchmarks/speed

bench-history: $(VENV)/dev ## Our own kernels beside the numpy reference: a line more of their history (a minute)
	$(BIN)/python benchmarks/speed --history

docs: $(VENV)/dev ## Check that commands, fields and codes of the docs are those of the code
	$(BIN)/python -m pytest -q tests/system/test_docs_*.py tests/system/test_readme.py

demo-compliance: $(VENV)/dev ## A bad config, refused; approved, run, verified, packed; one byte changed (a minute)
	$(BIN)/python docs/examples/compliance/demo.py

mutations: $(VENV)/dev ## Every single edit of an approved run and its pack, and who catches it (two minutes)
	$(BIN)/python -m pytest -q -m slow tests/mutation/test_mutations.py

clean: ## Remove what make made; runs/ stays, for its ledgers count
	rm -rf $(VENV) dist build .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './runs/*' -type d -prune -exec rm -rf {} +
