# Two words for a newcomer: `make report` and `make test`. Each line is what a reader could type.
PYTHON ?= python3
BUILT = .venv .venv-ci
VENV ?= .venv
BIN = $(VENV)/bin
# An environment of somebody else's is used as it is
READY = $(if $(filter $(BUILT),$(VENV)),$(VENV)/ready,$(BIN)/python)
DOCS_READY = $(if $(filter $(BUILT),$(VENV)),$(VENV)/docs-ready,$(BIN)/sphinx-build)
# Tools called by tools (DVC calls snakemake, snakemake calls python) are those of the environment.
export PATH := $(abspath $(BIN)):$(PATH)

RUN ?= full
NODES ?= 2
CORES ?= 8

# pip says what it downloads where somebody looks on.
QUIET = $(shell [ -t 2 ] || echo --quiet)

# Compiled once, not by every process of the tests.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = pytest --numprocesses 2 --dist worksteal

.PHONY: help report pull test test-all pages docs golden lint full plan measured schema clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

report: $(READY) ## regenerate every number of the embedded run, and its report
	snakemake --cores all
	snakemake --cores 1 report
	@echo "The report: reports/embedded/index.html (and reports/embedded/*/README.md)"

pull: $(READY) ## fetch results from DVC's remote instead of making them
	@dvc pull || { echo "error: no results came from DVC's remote (see above: none may be set, or" \
	"they were never pushed there); \`make report\` makes them all here" >&2; exit 2; }

test: $(READY) ## run the fast tests, the examples in the code, and one small paper: minutes
	$(PYTEST) -m 'not slow and (not workflow or quick)'

test-all: $(READY) ## run all other tests: slow ones, kills, clones, Slurm, ssh, S3, a browser
	$(PYTEST) --numprocesses 3 -m 'slow or (workflow and not quick)'

pages: .venv-report/ready ## write the pages of RUN=full from the evidence in git: no torch, no data
	PATH="$(abspath .venv-report/bin):$$PATH" snakemake --cores all --config run=$(RUN) -- report

docs: $(READY) $(DOCS_READY) ## build the site of docs/, examples run, and check all its links
	OMP_NUM_THREADS=1 sphinx-build --quiet --jobs 2 --fresh-env --nitpicky --fail-on-warning --keep-going docs build/docs
	@python docs/pr12_docs/check_links.py build/docs
	@echo "The site: build/docs/index.html"

golden: $(READY) ## note the values of a smoke run, where a change of numbers is meant
	snakemake --cores all --config run=smoke
	python -m pr12.report.golden --params '{}' build=build/smoke golden=tests/golden/smoke.json

lint: $(READY) ## formatters, linters, import contracts
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	lint-imports
	snakemake --lint

full: $(READY) ## the papers' own data and sizes: hours on a CPU
	snakemake --cores all --keep-going --config run=full
	snakemake --cores all --config run=full -- report

plan: $(READY) ## predict how long RUN=full takes, from nothing, on NODES=8 of CORES=16
	@python -m pr12.cluster.plan --params '{"run": "$(RUN)", "nodes": $(NODES), "cores": $(CORES)}' \
	params=params.yaml measured=benchmarks/measured/$(RUN).csv overheads=benchmarks/measured/slurm.json

measured: $(READY) ## note what the jobs of RUN=full took here, for plan and for Slurm
	python -m pr12.cluster.measured folder=build/$(RUN) table=benchmarks/measured/$(RUN).csv

schema: $(READY) ## write docs/params.schema.json, by which editors check params.yaml
	python -m pr12.workflow.schema params.yaml docs/params.schema.json

clean: ## remove all results (downloads stay); asks before those of a full run
	@if [ -d build/full ] && [ "$(SURE)" != yes ]; then \
	  [ -t 0 ] || { echo "error: build/full has results of hours; \`make clean SURE=yes\` removes" \
	    "them too, \`rm -rf build/smoke build/embedded\` only the others" >&2; exit 2; }; \
	  printf 'build/full has results of hours. Remove them? (yes or no) '; read answer; \
	  [ "$$answer" = yes ] || { echo "nothing was removed"; exit 1; }; \
	fi
	rm -rf build

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "Packages of requirements.lock: 2 to 5 minutes, 3 GB (8 where torch is one for GPUs: docs/running.md)"
	$(BIN)/python -m pip install $(QUIET) --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/docs-ready: docs/requirements.lock $(VENV)/ready
	$(BIN)/python -m pip install --quiet --no-deps --requirement docs/requirements.lock
	touch $@

$(filter-out $(BUILT:=/bin/sphinx-build),$(BIN)/sphinx-build):
	@echo "error: $@ does not exist; put what docs/requirements.lock lists into $(VENV), or leave VENV" \
	"out, and make builds .venv" >&2; exit 2

$(filter-out $(BUILT:=/bin/python),$(BIN)/python):
	@echo "error: $@ does not exist; name an environment that has pr12's packages, or leave VENV" \
	"out, and make builds .venv" >&2; exit 2

.venv-report/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-report
	.venv-report/bin/python -m pip install $(QUIET) --constraint requirements.lock --editable '.[report]'
	touch $@
