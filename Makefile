# What developers and CI run; each target first brings what it needs, and takes well under a second to see that
# it has it.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
DEPENDENCIES := .venv/.dependencies
PROJECT := .venv/.project
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help simulate test torture test-arm64 lint format bench servers lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

simulate: $(PROJECT) ## run the appliance with a simulated house; options in ARGS="..."
	@$(BIN)/edge-energy simulate $(ARGS)

test: servers ## run the tests with real servers; options of pytest, or some tests only, in ARGS="..."
ifeq ($(ARGS),)
	@$(BIN)/python -m pytest -m "not alone" --numprocesses 4 --dist loadfile --no-loadscope-reorder
	@$(BIN)/python -m pytest -m alone
else
	@$(BIN)/python -m pytest $(ARGS)
endif

torture: servers ## run the long versions of the acceptance tests: 200 kills, longer outages, a welded contact
	@LONG_TESTS=1 $(BIN)/python -m pytest tests/acceptance tests/appliance

test-arm64: servers ## install the appliance on an emulated 64-bit ARM machine: a quarter of an hour, as root
	@$(BIN)/python -c "from tests.servers import emulator; emulator.find() or emulator.make()"
	@ARM64_TESTS=1 $(BIN)/python -m pytest tests/appliance/test_arm64.py

lint: $(PROJECT) ## check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(DEPENDENCIES) ## format the source
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format

bench: servers ## measure throughput, latency, memory and bytes written
	@$(BIN)/python -m benchmarks $(ARGS)

servers: $(PROJECT) ## bring the real servers of the tests: packages, or built into ~/.cache/edge-energy
	@$(BIN)/python -m tests.servers

lock: $(DEPENDENCIES) ## resolve every dependency anew into config/lock/
	@# All files take their versions from one resolution.
	$(COMPILE) pyproject.toml --upgrade --all-extras --group dev --output-file .venv/all.txt
	$(COMPILE) pyproject.toml --constraint .venv/all.txt --output-file config/lock/appliance.txt
	$(COMPILE) --constraint .venv/all.txt --group build --output-file config/lock/build.txt
	for extra in simulation kafka pubsub zigbee; do \
		$(COMPILE) pyproject.toml --constraint .venv/all.txt --extra $$extra --output-file config/lock/$$extra.txt || exit; \
	done
	$(COMPILE) pyproject.toml --constraint .venv/all.txt --extra simulation --extra kafka --extra pubsub --group dev \
		--output-file config/lock/dev.txt

clean: ## remove what was made here; the servers' cache stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only wheels: a source distribution would be built with packages that no lock file knows. No dependencies: the lock
# file has them all, but for what pyproject.toml overrides.
$(DEPENDENCIES): config/lock/dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("edge_energy needs Python 3.11 or newer; \
	$(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.11")'
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --require-hashes --only-binary :all: --no-deps -r config/lock/dev.txt
	@touch $@

$(PROJECT): $(DEPENDENCIES) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
