# What you can do here; `make` lists it. Needs Python 3.11 or newer, nothing else.

PYTHON ?= python3
WORKERS ?= 4
ARGS ?=
SEEDS ?= 100
MINUTES ?= 10
CHAOS_SECONDS ?= 180
FUZZ_SECONDS ?= 60

VENV := .venv
LOWER_VENV := .venv-lower
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What is installed, as files: a second run finds them and starts at once. The installation is
# editable, so only a change of pyproject.toml asks for a new one, or of what the dashboard uses.
PIP_READY := $(VENV)/.pip-ready
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help up setup check test acceptance lower-bounds lower-bounds-quick test-long deploy-files deploy-check docs simulate mutations chaos fuzz bench bench-peers clean
.NOTPARALLEL:

help: ## list what you can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." goes to the program that runs (make up ARGS="--nodes 3", make test ARGS=tests/apps);'
	@echo '  PYTHON=python3.12 makes the virtual environment with that Python.'

up: $(INSTALLED) ## run a cluster here: nsqlookupd, two nsqd and nsqadmin; Ctrl-C ends it
	@exec $(BIN)/nsqx up $(ARGS)

setup: $(DEV_INSTALLED) ## install everything for working on nsqx into .venv

check: $(DEV_INSTALLED) ## formatting, lint, types, and which layer may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@sh admin/types/check.sh

# What failed and depends on real time runs once more, by itself: tests/runner.py says when, and lists it.
test: check ## check, then every test
	$(BIN)/python -m tests.runner -n $(WORKERS) $(ARGS)

acceptance: $(DEV_INSTALLED) ## proofs that take longer: campaigns of seeds, mutations, chaos, machines lost
	$(BIN)/python -m tests.runner -m acceptance -n 2 $(or $(ARGS),tests)

# Each requirement of ours, and of what its tests need, in the oldest version that pyproject.toml allows, in
# an environment of its own: a bound that is too low is only seen by who has such a version.
LOWER_TESTS := tests/test_imports.py tests/client tests/integrations tests/testing tests/protocol tests/runtime tests/apps
LOWER_TESTS_QUICK := tests/test_imports.py tests/client/test_codecs.py tests/client/test_real_daemons.py tests/client/test_lookupds.py \
	tests/integrations tests/protocol tests/runtime/process tests/runtime/test_discovery.py tests/apps/test_cli.py

lower-bounds: $(PIP_READY) ## every program with the oldest versions that are allowed
	@$(PIP) install uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWER_VENV)
	$(BIN)/uv pip install --quiet --python $(LOWER_VENV)/bin/python --resolution lowest-direct \
		--editable '.[prometheus,otel,re2,pytest,taskiq,faststream]' --group test
	$(LOWER_VENV)/bin/pytest -q -n $(WORKERS) -p no:cacheprovider $(or $(ARGS),$(LOWER_TESTS))

lower-bounds-quick: ## of that, what takes a minute
	@$(MAKE) --no-print-directory lower-bounds ARGS="$(LOWER_TESTS_QUICK)"

test-long: $(DEV_INSTALLED) ## properties and state machines, for as long as a night allows
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n $(WORKERS) --timeout 7200 $(or $(ARGS),tests/nsqd)

deploy-files: $(DEV_INSTALLED) ## write what is generated: references, manual pages, completions, examples, dashboards
	$(BIN)/python -m deploy.generate
	@$(PIP) install --group deploy
	$(BIN)/python -m deploy.check --write >/dev/null

deploy-check: $(DEV_INSTALLED) ## have real tools judge what is in deploy/
	@sh deploy/install-tools.sh
	@$(PIP) install --group deploy || echo "some validators can't be installed here"
	$(BIN)/python -m deploy.check

docs: $(DEV_INSTALLED) ## build the documentation into build/docs; a warning is an error
	@$(PIP) install --group docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

simulate: $(DEV_INSTALLED) ## whole clusters in simulated time: SEEDS=1000 MINUTES=10
	$(BIN)/python -m tests.simulation --fresh --seeds $(SEEDS) --minutes $(MINUTES) --jobs $(WORKERS) $(ARGS)

mutations: $(DEV_INSTALLED) ## deliberate defects, each to be found by the simulator within a minute
	$(BIN)/python -m tests.simulation.mutations --jobs $(WORKERS)

chaos: $(DEV_INSTALLED) ## real processes, killed, stopped and cut off for some minutes: CHAOS_SECONDS=180
	$(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS) $(ARGS)

fuzz: $(DEV_INSTALLED) ## every parser, guided by coverage: FUZZ_SECONDS=60 each
	@$(PIP) install atheris
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

bench: $(DEV_INSTALLED) ## measure this machine
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.idle

bench-peers: $(DEV_INSTALLED) ## our nsqd by turns with other brokers that are installed: ARGS='--only publish-1x1'
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## forget the virtual environment and the caches; ./data stays
	rm -rf $(VENV) $(LOWER_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A half-made environment would look finished to the next run, so it goes when a step fails.
$(PIP_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nsqx needs Python 3.11 or newer; choose one by: make PYTHON=python3.11")'
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(PIP) install "pip>=25.1" # the first that installs dependency groups
	@touch $@

$(INSTALLED): $(PIP_READY) pyproject.toml admin/package-lock.json
	@echo "Installing nsqx and what it needs"
	@$(PIP) install --editable .
	@touch $@

$(DEV_INSTALLED): $(INSTALLED) pyproject.toml
	@echo "Installing what its tests need"
	@$(PIP) install --group dev
	@touch $@
