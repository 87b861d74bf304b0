# `make demo` and `make test` need Python 3.11 or newer, make and git; everything else they set up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all conformance journeys check fix fuzz bench docs clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/.dev ## the development environment in .venv

demo: $(VENV)/.product ## a hub, a publisher and an image that becomes official; needs no network but the packages
	@$(BIN)/customhouse demo

test: $(VENV)/.dev ## the quick suite
	@$(PYTEST) tests --ignore=tests/journeys --ignore=tests/conformance -m "not slow" -q -n 2 --dist loadfile

conformance: $(VENV)/.dev ## the registry beside real clients, the OCI suite, several processes, backups
	@$(PYTEST) tests/conformance -m "not slow" -q

journeys: $(VENV)/.dev ## real docker client and daemon, kills and races included
	@$(PYTEST) tests/journeys -m "not slow" -q

test-all: $(VENV)/.dev ## everything, slow suites included
	@$(PYTEST) tests -q

check: $(VENV)/.dev ## lint, types, the import law, generated pages
	@$(BIN)/ruff check src tests benchmarks scripts
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python scripts/reference.py --check

fix: $(VENV)/.dev ## let ruff mend what it can; write the generated pages
	@$(BIN)/ruff check --fix src tests benchmarks scripts
	@$(BIN)/python scripts/reference.py

fuzz: $(VENV)/.dev ## search for inputs that break the parsers; FUZZ_SECONDS for each, 60 if nothing is said
	@$(BIN)/python -m tests.fuzz --seconds $${FUZZ_SECONDS:-60}

bench: $(VENV)/.dev ## measure beside docker-registry and notary-server
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.dev ## write the generated reference pages
	@$(BIN)/python scripts/reference.py

clean: ## remove what was set up
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Customhouse needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." \
	       "Install it, or name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments: install python3-venv (Debian, Ubuntu)." >&2; exit 1; }

$(VENV)/.product: $(VENV)/bin/python pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e . || { \
	  echo "pip could not install the packages named in pyproject.toml: is a package index reachable?" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "setting up $(VENV) with the test tools (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' || { \
	  echo "pip could not install the packages named in pyproject.toml: is a package index reachable?" >&2; exit 1; }
	@touch $@ $(VENV)/.product
