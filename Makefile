# `make serve` and `make test` need nothing but git, make and Python 3.11 or newer; they set up the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
STAMP := $(VENV)/.installed
SYNAPSE_VENV := .venv-synapse
SYNAPSE_STAMP := $(SYNAPSE_VENV)/.installed
OLDEST_VENV := .venv-synapse-oldest
OLDEST_STAMP := $(OLDEST_VENV)/.installed
SYDENT_VENV := .venv-sydent
SYDENT_STAMP := $(SYDENT_VENV)/.installed
TLOG_VENV := .venv-tlog
TLOG_STAMP := $(TLOG_VENV)/.installed
# pyenv's shims fail for the versions that are not selected, and uv stops at the first that fails: its versions come before them.
PYENV_ROOTS = $(PYENV_ROOT) $(HOME)/.pyenv $(patsubst %/shims,%,$(filter %/shims,$(subst :, ,$(PATH))))
PYENV_BINS = $(sort $(wildcard $(addsuffix /versions/*/bin,$(PYENV_ROOTS))))

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help setup serve test check format lint types contracts bench clean

help: ## Show what there is to run
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

setup: $(STAMP) ## Create .venv with the server and everything its tests need

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sydent-py needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python
	@touch $(STAMP)

# A homeserver to test against, beside the server and not in one environment with it.
$(SYNAPSE_STAMP): tests/synapse/requirements.txt | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SYNAPSE_VENV)
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(SYNAPSE_VENV)/bin/python $<
	@touch $@

# The oldest homeserver that the companion module is for. It needs Python 3.11; where there is none, its tests say that they are skipped.
$(OLDEST_STAMP): tests/synapse/requirements-oldest.txt | $(STAMP)
	@for bin in $(PYENV_BINS); do PATH="$$bin:$$PATH"; done; \
	if python=$$($(BIN)/uv python find '>=3.11,<3.12' 2>/dev/null); then \
		$(BIN)/uv venv --quiet --clear --python "$$python" $(OLDEST_VENV) && \
		$(BIN)/uv pip sync --quiet --compile-bytecode --python $(OLDEST_VENV)/bin/python $< && \
		touch $@; \
	else echo "Synapse 1.79 is left out: it needs Python 3.11, which is not on this machine"; fi

# The server whose place this one takes, to exchange bindings with.
$(SYDENT_STAMP): tests/sydent/requirements.txt | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SYDENT_VENV)
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(SYDENT_VENV)/bin/python $<
	@touch $@

# Another implementation of the log's formats. It needs Python 3.12; where there is none, its tests say that they are skipped.
$(TLOG_STAMP): tests/tlog/requirements.txt | $(STAMP)
	@for bin in $(PYENV_BINS); do PATH="$$bin:$$PATH"; done; \
	if python=$$($(BIN)/uv python find '>=3.12' 2>/dev/null); then \
		$(BIN)/uv venv --quiet --clear --python "$$python" $(TLOG_VENV) && \
		$(BIN)/uv pip sync --quiet --compile-bytecode --python $(TLOG_VENV)/bin/python $< && \
		touch $@; \
	else echo "tests/tlog is left out: it needs Python 3.12 or newer, which is not on this machine"; fi

serve: setup ## Run the server on its embedded defaults: http://127.0.0.1:8090
	$(BIN)/sydent-py serve

test: setup $(SYNAPSE_STAMP) $(OLDEST_STAMP) $(SYDENT_STAMP) $(TLOG_STAMP) ## Run every test, on SQLite and on a real PostgreSQL, and with real homeservers
	$(BIN)/pytest

check: setup lint types contracts test ## Everything CI checks

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: setup ## Rewrite the code in the one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

bench: setup ## Measure lookups at 1,000,000 bindings and the log at 100,000 entries, beside raw yardsticks
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) $(SYNAPSE_VENV) $(OLDEST_VENV) $(SYDENT_VENV) $(TLOG_VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
