# make demo   sets up what it needs and shows the main job working, without any cloud account
# make test   sets up what it needs and runs the tests
# make check  the one gate: format, lint, types, template, tests
# make build  writes the zips that are deployed into dist
# make lock   refreshes the requirements files
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check build format lock clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(READY): pyproject.toml src/requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cbr-sync needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r src/requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/python tests/demo.py

test: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml
	$(MAKE) --no-print-directory test

build: $(READY)
	@$(BIN)/python deploy/bundle.py zips dist

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# The second file holds only what development adds, so the first stays what is deployed.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' --no-annotate --upgrade
lock: $(READY)
	$(BIN)/$(LOCK) pyproject.toml --output-file src/requirements.txt
	$(BIN)/$(LOCK) pyproject.toml --extra cli --group dev --constraints src/requirements.txt \
	  $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' src/requirements.txt) --output-file requirements-dev.txt
	$(BIN)/$(LOCK) --group sam --output-file deploy/requirements-sam.txt
	$(BIN)/$(LOCK) --group scan --output-file deploy/requirements-scan.txt

clean:
	rm -rf $(VENV) dist .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
