# Everything runs in .venv, which the first target that needs it makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TOOLS := $(VENV)/tools
CLIENTS := .cache/clients

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint format bench bench-queries crash docs pictures clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(READY) ## Run the server; options in SERVE="…", settings in METERHOUSE_… variables
	@exec $(BIN)/meterhouse serve $(SERVE)

test: $(TOOLS) $(CLIENTS) ## Run the tests; options in TEST="…"
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(TEST)

lint: $(TOOLS) ## Check style, types and import floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TOOLS) ## Format the code
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(TOOLS) ## Run the benchmarks; options in BENCH="…"
	$(BIN)/python -m benchmarks $(BENCH)

bench-queries: $(TOOLS) ## Run the benchmark of queries; options in BENCH="…", such as --events 100000000
	$(BIN)/python -m benchmarks.queries $(BENCH)

crash: $(TOOLS) ## Kill the server at random moments under load, 500 times, and check the books
	METERHOUSE_CRASH_KILLS=$${METERHOUSE_CRASH_KILLS:-500} $(BIN)/python -m pytest tests/crash $(TEST)

pictures: $(TOOLS) ## Take the pictures of docs/dashboard.md anew; needs chromium
	$(BIN)/python -m tests.dashboard.pictures docs/images

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
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# Stripe's clients, each in a folder of its own, with which tests drive the server; and axe-core.
$(CLIENTS): Makefile
	rm -rf $@
	$(BIN)/python -m pip install --quiet --target $@/stripe-11 'stripe>=11,<12'
	$(BIN)/python -m pip install --quiet --target $@/stripe-12.5 'stripe>=12.5,<12.6'
	$(BIN)/python -m pip install --quiet --target $@/stripe-16.1.0b1 'stripe==16.1.0b1'
	if command -v npm >/dev/null; then \
	  npm install --silent --no-fund --no-audit --prefix $@/node-23 stripe@23 && \
	  npm install --silent --no-fund --no-audit --prefix $@/node-20 stripe@20 && \
	  npm install --silent --no-fund --no-audit --prefix $@/stripe-cli @stripe/cli@1.52 && \
	  npm install --silent --no-fund --no-audit --prefix $@/axe axe-core@4; \
	fi
	@touch $@
