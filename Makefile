PYTHON ?= python3
BIN := .venv/bin
FAST := "not e2e and not server and not slow"
# One worker more than two cores: tests wait for servers as much as they compute. A file's tests stay together.
WORKERS := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-fast coverage mutants lint types hooks bench models clean help

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/installed: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -m venv .venv || { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing pinned packages into .venv (a few minutes, once)…"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed  ## the whole story on the sample wiki, in minutes, no network and no GPU
	@env -u PREFECT_API_URL HF_HUB_OFFLINE=1 $(BIN)/wikistyle run --profile sample

test: .venv/installed  ## the whole test suite
	@$(BIN)/pytest $(WORKERS)

test-fast: .venv/installed  ## the tests that need no server and no browser and are not slow
	@$(BIN)/pytest $(WORKERS) -m $(FAST)

coverage: .venv/installed  ## how much of flows, tasks and deployments those run
	@$(BIN)/pytest $(WORKERS) -m $(FAST) --cov=flows --cov=tasks --cov=deployments --cov-report=term:skip-covered

mutants: .venv/installed  ## faults put into every formula, and those the fast tests miss (hours; goes on where it was)
	@nice $(BIN)/python tests/mutants.py run
	@$(BIN)/python tests/mutants.py results

lint: .venv/installed  ## ruff, lint and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/installed  ## pyright
	@$(BIN)/pyright --pythonpath $(BIN)/python

hooks: .venv/installed  ## run lint and types before each commit
	@$(BIN)/pre-commit install

bench: .venv/installed  ## side-by-side measurements into benchmarks/results.json
	@$(BIN)/python -m benchmarks

models: .venv/installed  ## train the sample models anew from the npm emoji packages (hours)
	@$(BIN)/python -m samples.models.build

clean:  ## forget every run, cache and mutant (not .venv)
	@rm -rf runs .wikistyle mutants
