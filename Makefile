# The environment is .venv. It needs Python 3.11 or newer, for all but the demo a C++ compiler; everything else is fetched, pinned.
PYTHON ?= python3
ARGS ?=

UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
RUN_READY := $(VENV)/.ready-run
BENCH_READY := $(VENV)/.ready-bench
DEV_PINS := requirements/dev.txt
BENCH_PINS := requirements/bench.txt

# As pip does, uv trusts the certificates that the system trusts (a company's proxy): UV_SYSTEM_CERTS=false for its own.
export UV_SYSTEM_CERTS ?= true

# Python compiles what it imports once, not at every start: with uv at installation, and whatever the shell says.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

INSTALL := $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile --quiet --python $(BIN)/python --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make pins" $(if $(UPGRADE),--upgrade) pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test proof mutants lint coverage bench docs figures results pins

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name what; do \
		printf '  make %-8s %s\n' "$$name" "$$what"; done

demo: $(RUN_READY) ## train independent seeds, cross-play them, draw the gap; the same exactly on dec-tiger (a few minutes)
	$(BIN)/tacit train experiment=demo
	$(BIN)/tacit phase game=dectiger horizon=3 'alpha=[3,14]' refine=false branch=false

# Workers share nothing but the files of the compilation cache; a test goes to the worker that is free. With ARGS, to choose
# tests, one process is faster.
WORKERS := $(if $(ARGS),,-n auto --maxprocesses 8 --dist worksteal)
# Proofs of one file share what they built.
FILE_WORKERS := $(WORKERS:worksteal=loadfile)

quick: $(READY) ## what one runs at every save: every test that takes less than half a second
	$(BIN)/python -m pytest -m "not slow and not proof" $(WORKERS) $(ARGS)

test: lint ## all that has to hold: lint, types, every behaviour (ARGS='-k hanabi' goes to pytest)
	$(BIN)/python -m pytest -m "not proof" $(WORKERS) $(ARGS)

proof: $(READY) ## the same promises at full size: kills, Slurm, a browser, notebooks, the site, exact oracles
	$(BIN)/python -m pytest -m proof $(FILE_WORKERS) $(ARGS)

mutants: $(READY) ## known defects, one at a time: which of them `make test` finds
	$(BIN)/python -m benchmarks.mutants $(ARGS)

lint: $(READY) ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

coverage: $(READY) ## `make test`, and the lines that none of its tests runs
	$(BIN)/python -m pytest -m "not proof" $(WORKERS) --cov --cov-report=term-missing:skip-covered $(ARGS)

bench: $(BENCH_READY) ## measure beside the peers
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## the documentation as a site: docs/_build/html/index.html
	$(BIN)/sphinx-build -E --fail-on-warning --keep-going docs docs/_build/html

figures: $(READY) ## the runs behind the figures of docs/, and the figures of the notebooks (longer than the demo)
	$(BIN)/tacit train experiment=small_sweep
	$(BIN)/tacit phase -m game=dectiger,skewed_dectiger,lever,two_stage_lever,asymmetric_lever,recycling
	$(BIN)/tacit phase -m game=tiny_hanabi variant=A,B,C,D,E,F
	$(BIN)/python -m docs.notebooks

results: $(READY) ## the runs behind the tables of docs/, and the tables (hours; SIZE=small: minutes, for the machinery)
	$(BIN)/python -m docs.results $(if $(filter small,$(SIZE)),--small) $(ARGS)

pins: | $(UV) ## remake requirements/ after a change of pyproject.toml (UPGRADE=1 takes newer versions)
	$(COMPILE) --extra dev --output-file $(DEV_PINS)
	$(COMPILE) --extra dev --extra bench --constraints $(DEV_PINS) --output-file $(BENCH_PINS)

# Pages run commands, which compile.
docs: export JAX_COMPILATION_CACHE_DIR ?= $(HOME)/.cache/tacit/jax

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Tacit needs Python 3.11 or newer, and '$(PYTHON)' is not one: name one, for example 'make $(or $(MAKECMDGOALS),test) PYTHON=python3.12'." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(UV): | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)

# What runs need, and nothing else: no compiler, no oracle, no tools.
$(RUN_READY): pyproject.toml $(DEV_PINS) | $(UV)
	$(INSTALL) --constraints $(DEV_PINS) --editable '.[report,symmetry]'
	@touch $@

$(READY): pyproject.toml $(DEV_PINS) | $(UV)
	$(INSTALL) --require-hashes --requirements $(DEV_PINS)
	$(INSTALL) --no-deps --editable .
	@touch $@ $(RUN_READY)

$(BENCH_READY): $(BENCH_PINS) $(READY)
	$(INSTALL) --require-hashes --requirements $(BENCH_PINS)
	@touch $@
