# Two words for a newcomer: `make report` and `make test`. Each line is what a reader could type.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Tools called by tools (DVC calls snakemake, snakemake calls python) are those of the environment.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help report test lint full clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

report: $(VENV)/ready ## regenerate every number of the embedded run, and its report
	snakemake --cores all
	snakemake --cores 1 report
	@echo "The report: reports/embedded/index.html (and reports/embedded/*/README.md)"

test: $(VENV)/ready ## run the whole test suite
	pytest --numprocesses 2

lint: $(VENV)/ready ## formatters, linters, import contracts
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	lint-imports
	snakemake --lint

full: $(VENV)/ready ## the papers' own data and sizes: hours on a CPU
	snakemake --cores all --keep-going --config run=full
	snakemake --cores all --config run=full -- report

clean: ## remove all results (downloads stay)
	rm -rf build

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
