# Everything runs in .venv, which the first target that needs it makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint format bench crash docs clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(READY) ## Run the server; options in SERVE="…", settings in METERHOUSE_… variables
	@exec $(BIN)/meterhouse serve $(SERVE)

test: $(READY) ## Run the tests; options in TEST="…"
	$(BIN)/python -m pytest $(TEST)

lint: $(READY) ## Check style, types and import floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(READY) ## Run the benchmarks; options in BENCH="…"
	$(BIN)/python -m benchmarks $(BENCH)

crash: $(READY) ## Kill the server at random moments under load, 500 times, and check the books
	METERHOUSE_CRASH_KILLS=$${METERHOUSE_CRASH_KILLS:-500} $(BIN)/python -m pytest tests/crash $(TEST)

docs: $(READY) ## Make docs/settings.md from the table of settings
	$(BIN)/meterhouse settings > docs/settings.md

clean: ## Remove .venv and what tools leave behind; keeps data folders
	rm -rf $(VENV) dist .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Meterhouse needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@
