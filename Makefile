# Everything runs in .venv, which the first target that needs it makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TOOLS := $(VENV)/tools
CLIENTS := .cache/clients
PYTHON_CLIENTS := stripe-11 stripe-12.5 stripe-16.1.0b1
NODE_CLIENTS := node-23 node-20 stripe-cli axe
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist worksteal
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint format bench bench-against bench-cluster bench-queries crash crash-cluster fuzz docs pictures lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(READY) ## Run the server; options in SERVE="…", settings in METERHOUSE_… variables
	@exec $(BIN)/meterhouse serve $(SERVE)

test: $(TOOLS) $(CLIENTS) ## Run the tests; options in TEST="…"
	$(PYTEST) $(TEST)

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

bench-against: $(TOOLS) ## Compare with another commit in turns: REV=…; options in BENCH="…"
	$(BIN)/python -m benchmarks.against $(REV) $(BENCH)

bench-queries: $(TOOLS) ## Run the benchmark of queries; options in BENCH="…", such as --events 100000000
	$(BIN)/python -m benchmarks.queries $(BENCH)

bench-cluster: $(TOOLS) ## Run the benchmark of several nodes; options in BENCH="…"
	$(BIN)/python -m benchmarks.cluster $(BENCH)

crash: $(TOOLS) ## Kill the server at random moments under load, 500 times, and check the books
	METERHOUSE_CRASH_KILLS=$${METERHOUSE_CRASH_KILLS:-500} $(BIN)/python -m pytest tests/crash $(TEST)

crash-cluster: $(TOOLS) ## Kill and pause nodes and stores of a cluster under load, 1,000 times
	METERHOUSE_CRASH_FAULTS=$${METERHOUSE_CRASH_FAULTS:-1000} \
	  $(BIN)/python -m pytest tests/cluster/test_chaos.py -rP $(TEST)

fuzz: $(TOOLS) ## Send odd requests for some minutes; the seed is printed, METERHOUSE_FUZZ_SEED repeats it
	seed=$${METERHOUSE_FUZZ_SEED:-$$(date +%s)}; echo "METERHOUSE_FUZZ_SEED=$$seed"; \
	METERHOUSE_FUZZ_SEED=$$seed METERHOUSE_FUZZ_EXAMPLES=$${METERHOUSE_FUZZ_EXAMPLES:-500} \
	  $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$$seed $(TEST)

pictures: $(TOOLS) ## Take the pictures of docs/dashboard.md anew; needs chromium
	$(BIN)/python -m tests.dashboard.pictures docs/images

docs: $(READY) ## Make docs/settings.md from the table of settings
	$(BIN)/meterhouse settings > docs/settings.md

lock: $(TOOLS) ## Renew the versions and hashes in requirements/ by which everything is installed
	$(COMPILE) pyproject.toml requirements/build.in --output-file requirements/serve.txt
	$(COMPILE) pyproject.toml requirements/build.in --extra cluster \
	  --constraint requirements/serve.txt --output-file requirements/cluster.txt
	$(COMPILE) pyproject.toml requirements/build.in --group dev --extra cluster \
	  --constraint requirements/cluster.txt --output-file requirements/dev.txt
	for name in $(PYTHON_CLIENTS); do \
	  $(COMPILE) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done
	for name in $(NODE_CLIENTS); do \
	  rm -f requirements/$$name/package-lock.json && \
	  npm install --silent --no-fund --no-audit --ignore-scripts --package-lock-only \
	    --omit-lockfile-registry-resolved --prefix requirements/$$name || exit 1; \
	done

clean: ## Remove .venv and what tools leave behind; keeps data folders
	rm -rf $(VENV) dist .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml requirements/serve.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Meterhouse needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --requirement requirements/serve.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(READY) requirements/dev.txt
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	@touch $@

# Stripe's clients, each in a folder of its own, with which tests drive the server; and axe-core.
$(CLIENTS): $(READY) $(wildcard requirements/stripe-*.txt requirements/*/package-lock.json)
	rm -rf $@
	for name in $(PYTHON_CLIENTS); do \
	  $(INSTALL) --require-hashes --requirement requirements/$$name.txt --target $@/$$name || exit 1; \
	done
	if command -v npm >/dev/null; then for name in $(NODE_CLIENTS); do \
	  mkdir -p $@/$$name && cp requirements/$$name/*.json $@/$$name && \
	  npm ci --silent --no-fund --no-audit --ignore-scripts --prefix $@/$$name || exit 1; \
	done; fi
	@touch $@
