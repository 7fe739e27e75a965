# `make help` lists the targets. GNU make, and any POSIX shell.
#
# PYTHON  the interpreter to make the virtual environment with; by default the newest that works
# VENV    where the virtual environment is
# ARGS    further arguments for the program that the target runs: make test ARGS="-k join"
# PARTS   processes that run the tests; 0: one that can be debugged

PYTHON ?=
VENV ?= .venv
ARGS ?=
PARTS ?= 2

CANDIDATES = python3.14 python3.13 python3.12 python3.11 python3.10 python3
# A command of that name may exist and yet not run (pyenv), be too old, or lack ensurepip (Debian).
WORKS = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
NO_PYTHON = no Python 3.10 or newer with venv and ensurepip found (Debian/Ubuntu: apt install python3-venv)

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check
# Another PYTHON than the environment was made with makes it anew; no PYTHON takes it as it is.
CREATED = $(VENV)/.created$(if $(PYTHON),-$(subst /,-,$(PYTHON)))
RUNTIME = $(VENV)/.runtime-installed
TEST = $(VENV)/.test-installed
DEV = $(VENV)/.dev-installed
TWISTED = $(VENV)/.twisted-installed
# Looks for faults of accessibility in the status page; without npm the tests of that are skipped.
AXE = $(VENV)/node_modules/axe-core/package.json
AXE_VERSION = 4.14.1

.DEFAULT_GOAL := help
.PHONY: demo test quick twisted-suite lint format types dist-check clean help

demo: $(RUNTIME) ## run the relay on generated traffic
	@echo "demo     twistd groupsock-relay --demo (Ctrl-C stops it)"
	@exec $(BIN)/twistd -n --pidfile= groupsock-relay --demo $(ARGS)

test: $(TEST) $(AXE) ## run all tests and report coverage
	@echo "test     pytest ($$($(BIN)/python -V))"
	@$(BIN)/python -m pytest -n $(PARTS) --dist worksteal --cov --cov-report=term $(ARGS)

quick: $(TEST) ## run the tests that take little time, without coverage
	@echo "quick    pytest ($$($(BIN)/python -V))"
	@$(BIN)/python -m pytest -n $(PARTS) --dist worksteal --no-cov -m "not slow and not lan" $(ARGS)

twisted-suite: $(TWISTED) ## run Twisted's own tests on our reactor, and tell what differs
	@echo "twisted  tests.twistedsuite ($$($(BIN)/python -V))"
	@$(BIN)/python -m tests.twistedsuite $(ARGS)

lint: $(DEV) ## check style, format, and which part imports which
	@echo "lint     ruff, import-linter"
	@$(BIN)/ruff check $(ARGS) .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --no-cache

format: $(DEV) ## put the code into ruff's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix $(ARGS) .

types: $(DEV) ## check types
	@echo "types    mypy"
	@$(BIN)/mypy $(ARGS)

# Outside the private network that other tests run in, since it installs from a package index.
dist-check: $(TEST) ## build wheel and sdist, check them, and run the installed wheel
	@echo "dist     build, install and run ($$($(BIN)/python -V))"
	@TXGROUPSOCK_NO_PRIVATE_NETWORK=1 $(BIN)/python -m pytest $(ARGS) tests/dist

clean: ## remove everything that make, tests and tools made
	@echo "clean    virtual environments, builds, caches"
	@rm -rf .venv .venv-ci build dist htmlcov .coverage .coverage.* .hypothesis _trial_temp
	@rm -rf .mypy_cache .pytest_cache .ruff_cache twistd.pid twistd.log twisted/plugins/dropin.cache
	@find txgroupsock twisted tests benchmarks -name __pycache__ -type d -prune \
		-exec rm -rf {} + 2>/dev/null || true

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

$(CREATED):
	@for python in $(or $(PYTHON),$(CANDIDATES)); do \
		if "$$python" -c '$(WORKS)' >/dev/null 2>&1; then \
			echo "venv     $(VENV) ($$("$$python" -V))"; \
			"$$python" -m venv --clear "$(VENV)" || exit 1; \
			touch "$(VENV)/.created" "$@"; \
			exit 0; \
		fi; \
	done; \
	echo "$(if $(PYTHON),$(PYTHON): )$(NO_PYTHON)" >&2; exit 1

$(RUNTIME): $(CREATED) pyproject.toml
	@echo "install  txgroupsock into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(TEST): $(CREATED) pyproject.toml
	@echo "install  txgroupsock and what its tests need into $(VENV)"
	@$(PIP) -e '.[test]'
	@touch $(RUNTIME) $@

$(TWISTED): $(CREATED) pyproject.toml
	@echo "install  what Twisted's own tests need into $(VENV)"
	@$(PIP) -e '.[twisted]'
	@touch $(RUNTIME) $(TEST) $@

$(AXE): $(CREATED)
	@if command -v npm >/dev/null; then \
		echo "install  axe-core into $(VENV)"; \
		npm install --prefix $(VENV) --no-save --no-package-lock --no-audit --no-fund --silent --fetch-retries=1 \
			axe-core@$(AXE_VERSION) \
			|| echo "axe-core could not be fetched: the tests that need it are skipped"; \
	fi

$(DEV): $(CREATED) pyproject.toml
	@echo "install  txgroupsock and all development tools into $(VENV)"
	@$(PIP) -e '.[dev]'
	@touch $(RUNTIME) $(TEST) $@
