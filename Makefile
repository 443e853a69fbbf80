# make demo          sets up what it needs and shows the main job working, without any cloud account
# make test          sets up what it needs and runs the tests
# make test-fast     the tests that build nothing and open no browser
# make check         the one gate: format, lint, types, imports, template, tests with their coverage
# make check-deploy  lints what is deployed as SAM, CloudFormation and Terraform see it, and builds it with SAM
# make build         writes the zips that are deployed into dist
# make bench         measures ours against the same job on the usual libraries, in its own environment
# make lock          refreshes the requirements files
PYTHON ?= python3
VENV := .venv
DEPLOY := .deploy
BENCH := .bench
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check check-deploy build bench format lock clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(READY): pyproject.toml src/requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cbr-sync needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(INSTALL) --require-hashes --no-deps -r src/requirements.txt -r requirements-dev.txt
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/python tests/demo.py

# One worker for each core. Each takes half of the tests as they stand, so that what a module shares is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
test: $(READY)
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/cfn-lint template.yaml
	$(PYTEST) --cov --cov-report=term

# Two environments, since their tools pin versions that do not agree. Every pin is in the file: no dependency is looked for.
$(DEPLOY)/%/.ready: deploy/requirements-%.txt
	$(PYTHON) -m venv --clear $(DEPLOY)/$*
	$(DEPLOY)/$*/bin/python $(INSTALL) --require-hashes --no-deps -r $<
	@touch $@

SAM := SAM_CLI_TELEMETRY=0 $(DEPLOY)/sam/bin/sam
TRANSLATED := $(DEPLOY)/translated.json
check-deploy: $(DEPLOY)/sam/.ready $(DEPLOY)/scan/.ready build
	$(SAM) validate --lint
	$(BIN)/python deploy/guided.py $(abspath $(DEPLOY)/sam/bin/sam) $(abspath template.yaml)
	$(DEPLOY)/sam/bin/python deploy/translate.py > $(TRANSLATED)
	$(DEPLOY)/sam/bin/cfn-lint $(TRANSLATED) --regions eu-west-1
	$(DEPLOY)/scan/bin/checkov --file template.yaml $(TRANSLATED) --framework cloudformation --compact --quiet --skip-download
	$(SAM) build > $(DEPLOY)/build.log 2>&1 || { cat $(DEPLOY)/build.log; exit 1; }
	rm -rf $(DEPLOY)/unpacked
	$(BIN)/python -m zipfile -e dist/cbr-sync-lambda-arm64.zip $(DEPLOY)/unpacked
	diff -r $(DEPLOY)/unpacked .aws-sam/build/Function
	$(DEPLOY)/scan/bin/bandit --quiet --recursive --configfile pyproject.toml src deploy
	$(DEPLOY)/scan/bin/python deploy/audit.py
	@if command -v terraform > /dev/null; then terraform fmt -check -diff -recursive deploy; else echo "no terraform here: its format is not checked"; fi
	@sh deploy/validate.sh

build: $(READY)
	@$(BIN)/python deploy/bundle.py zips dist

$(BENCH)/.ready: benchmarks/requirements-bench.txt benchmarks/requirements-peer.txt
	rm -rf $(BENCH)
	$(PYTHON) -m venv $(BENCH)/tools
	$(BENCH)/tools/bin/python $(INSTALL) --require-hashes --no-deps -r $<
	@touch $@

# FIGURES="cold warm" measures only these.
bench: $(BENCH)/.ready
	@$(BENCH)/tools/bin/python benchmarks/bench.py $(BENCH) $(FIGURES)

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
	$(BIN)/$(LOCK) --group peer --constraints src/requirements.txt --output-file benchmarks/requirements-peer.txt
	$(BIN)/$(LOCK) --group bench --output-file benchmarks/requirements-bench.txt

clean:
	rm -rf $(VENV) $(DEPLOY) $(BENCH) dist .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
