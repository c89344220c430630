# Every verb a contributor needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests that kill processes and look at what happens in time: they have the machine to themselves, two at a time.
ALONE := $(addprefix tests/e2e/test_,agents.py chaos.py crashes.py events_crash.py flows_crash.py gathering_crash.py queues_crash.py webhooks_crash.py)

.DEFAULT_GOAL := help
.PHONY: help install demo up test lint format types unit bench bench-peers chaos schema lock clean

help: ## List the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is newer than pyproject.toml exactly when everything it names is installed.
# constraints.txt holds the versions all of this was tested with.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP) ## Create .venv and install everything, dev tools included

demo: $(STAMP) ## Run the content moderation flow from start to finish and show every step
	@$(BIN)/orchestrator demo

up: $(STAMP) ## Start Temporal, worker and gateway in one process
	@$(BIN)/orchestrator up

lint: $(STAMP) ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Rewrite the sources the way `lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## Check types only
	$(BIN)/mypy

unit: $(STAMP) ## Run the tests that need no server
	$(BIN)/pytest tests/unit -q

test: lint ## Everything CI runs: lint, then all tests; those that kill processes have the machine to themselves
	$(BIN)/pytest $(wildcard $(ALONE)) --numprocesses 2 --dist loadfile
	$(BIN)/pytest tests $(addprefix --ignore ,$(ALONE)) --numprocesses 2 --dist loadfile --no-loadscope-reorder

bench: $(STAMP) ## Measure flows against hand-written Temporal workflows
	$(BIN)/python -m benchmarks

# n8n comes with the Node.js it needs, as its packages were the day after its release, and only the two of them that it
# cannot start without run what they bring to build themselves.
N8N = benchmarks/.n8n
NODE = node-linux-$(if $(filter aarch64,$(shell uname -m)),arm64,x64)
NODE_HOME = $(CURDIR)/$(N8N)/node/node_modules/$(NODE)
WITH_NODE = PATH="$(NODE_HOME)/bin:$$PATH" npm_config_nodedir="$(NODE_HOME)"

bench-peers: ## Install what `make bench` measures beside, DBOS and n8n, below benchmarks/ (needs npm)
	$(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet dbos fastapi uvicorn httptools httpx uvloop
	npm install --prefix $(N8N)/node $(NODE)@24
	$(WITH_NODE) npm install --prefix $(N8N) --ignore-scripts --legacy-peer-deps --before=2026-09-27 n8n@2.40.7
	cd $(N8N) && $(WITH_NODE) npm rebuild sqlite3 isolated-vm

chaos: $(STAMP) ## Kill workers, gateway and Temporal in the middle of 200 runs, and check every promise
	$(BIN)/python -m tests.e2e.chaos --runs 200
	DELIVERIES=2000 $(BIN)/pytest tests/e2e/test_webhooks_crash.py
	$(BIN)/pytest tests/unit/engine/test_carry_properties.py tests/engine/flows/test_oracle.py tests/engine/flows/test_continue.py -q --hypothesis-profile=chaos

schema: $(STAMP) ## Write the JSON Schemas that editors use for flow and project files
	$(BIN)/orchestrator schema flow > docs/flow.schema.json
	$(BIN)/orchestrator schema project > docs/project.schema.json

lock: ## Take the newest versions of everything and write them into constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager --editable '.[dev]'
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean: ## Remove what builds and tests leave behind; .venv and .orchestrator stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
