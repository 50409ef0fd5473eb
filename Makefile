# Two words for a newcomer: `make report` and `make test`. Each line is what a reader could type.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Tools called by tools (DVC calls snakemake, snakemake calls python) are those of the environment.
export PATH := $(abspath $(BIN)):$(PATH)

RUN ?= full
NODES ?= 2
CORES ?= 8

# Compiled once, not by every process of the tests.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = pytest --numprocesses 2 --dist worksteal

.PHONY: help report test test-all pages golden lint full plan measured schema clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

report: $(VENV)/ready ## regenerate every number of the embedded run, and its report
	snakemake --cores all
	snakemake --cores 1 report
	@echo "The report: reports/embedded/index.html (and reports/embedded/*/README.md)"

test: $(VENV)/ready ## run the fast tests, the examples in the code, and one small paper: minutes
	$(PYTEST) -m 'not slow and (not workflow or quick)'

test-all: $(VENV)/ready ## run all other tests: slow ones, kills, clones, Slurm, ssh, S3, a browser
	$(PYTEST) --numprocesses 3 -m 'slow or (workflow and not quick)'

pages: .venv-report/ready ## write the pages of RUN=full from the evidence in git: no torch, no data
	PATH="$(abspath .venv-report/bin):$$PATH" snakemake --cores all --config run=$(RUN) -- report

golden: $(VENV)/ready ## note the values of a smoke run, where a change of numbers is meant
	snakemake --cores all --config run=smoke
	python -m pr12.report.golden --params '{}' build=build/smoke golden=tests/golden/smoke.json

lint: $(VENV)/ready ## formatters, linters, import contracts
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	lint-imports
	snakemake --lint

full: $(VENV)/ready ## the papers' own data and sizes: hours on a CPU
	snakemake --cores all --keep-going --config run=full
	snakemake --cores all --config run=full -- report

plan: $(VENV)/ready ## predict how long RUN=full takes, from nothing, on NODES=8 of CORES=16
	@python -m pr12.cluster.plan --params '{"run": "$(RUN)", "nodes": $(NODES), "cores": $(CORES)}' \
	params=params.yaml measured=benchmarks/measured/$(RUN).csv overheads=benchmarks/measured/slurm.json

measured: $(VENV)/ready ## note what the jobs of RUN=full took here, for plan and for Slurm
	python -m pr12.cluster.measured folder=build/$(RUN) table=benchmarks/measured/$(RUN).csv

schema: $(VENV)/ready ## write docs/params.schema.json, by which editors check params.yaml
	python -m pr12.workflow.schema params.yaml docs/params.schema.json

clean: ## remove all results (downloads stay)
	rm -rf build

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv-report/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-report
	.venv-report/bin/python -m pip install --quiet --constraint requirements.lock --editable '.[report]'
	touch $@
