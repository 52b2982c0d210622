# Every target creates its own environment from the lock: only python3 (3.11 to 3.13) and make are needed.
PYTHON ?= python3
VENV ?= .venv
# PyTorch serves as an oracle in some tests and benchmarks. auto: installed unless it would pull CUDA libraries
# (gigabytes) along; 1: installed in any case; 0: never. Without it those tests are skipped and say so.
ORACLE ?= auto
JOBS ?= 2
DATA_DIR ?= data
RUNS ?= runs
# Of the results: demo (hours on two cores), full_small (all of the full data, small networks) or full (meant for a GPU).
SIZE ?= demo
# Trainings of the results at a time: 2 suits two CPU cores; of small networks, a GPU takes as many as there are CPU cores.
TRAININGS ?= 1

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install oracle lint test demo serve patterns-demo results bench probe lock clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo
	@echo "  Variables: PYTHON=$(PYTHON) VENV=$(VENV) DATA_DIR=$(DATA_DIR) RUNS=$(RUNS) JOBS=$(JOBS) SIZE=$(SIZE)"
	@echo "             TRAININGS=$(TRAININGS)"
	@echo "  After make install, \`. $(BIN)/activate\` puts the command fos on the path"
	@echo "  ORACLE=$(ORACLE): PyTorch for comparison; 0 never, 1 always, auto unless it would bring CUDA libraries"

install: $(STAMP) ## create the environment from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(None if (3, 11) <= v < (3, 14) else "error: $(PYTHON) is Python %d.%d, expected 3.11 to 3.13 (set PYTHON=)" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot create environments (on Debian: apt install python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@echo "Installed: $(BIN)/fos lists the commands (to type fos alone: source $(BIN)/activate)"
	@touch $@

oracle: $(VENV)/.oracle-$(ORACLE) ## install PyTorch for comparison (see ORACLE)

$(VENV)/.oracle-0: $(STAMP)
	@touch $@

$(VENV)/.oracle-1: $(STAMP) requirements-oracle.txt
	$(PIP) install --quiet -r requirements-oracle.txt
	@touch $@

$(VENV)/.oracle-auto: $(STAMP) requirements-oracle.txt
	@plan=$$($(PIP) install --dry-run -r requirements-oracle.txt 2>/dev/null); status=$$?; \
	if [ $$status -ne 0 ]; then echo "PyTorch cannot be installed here: comparisons with it are skipped"; \
	elif echo "$$plan" | grep -qiE 'would install.* (nvidia|cuda|triton)-?'; then \
	  echo "PyTorch would bring CUDA libraries here: comparisons with it are skipped (ORACLE=1 installs it)"; \
	else $(PIP) install --quiet -r requirements-oracle.txt || echo "PyTorch: not installed, comparisons are skipped"; fi
	@touch $@

lint: $(STAMP) ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint oracle ## lint, types, import contract and all tests
	JAX_PLATFORMS=$${JAX_PLATFORMS:-cpu} $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

demo: $(STAMP) ## data set, training, evaluation, gallery, search and report, on a CPU
	$(BIN)/fos demo --workdir=$(RUNS)/demo --data_dir=$(DATA_DIR)

serve: $(STAMP) ## the page on which one searches by drawing a rectangle, over the gallery of make demo
	@test -d $(RUNS)/demo/gallery || { echo "error: no $(RUNS)/demo/gallery (make demo builds it)" >&2; exit 1; }
	$(BIN)/fos serve --gallery=$(RUNS)/demo/gallery

patterns-demo: $(STAMP) ## from photographs to patterns, a data set, training, search and report, on a CPU
	$(BIN)/fos demo patterns --workdir=$(RUNS)/patterns_demo

probe: $(STAMP) ## check that each pattern attribute can be read from the query image, and nothing else
	$(BIN)/fos probe --data_dir=$(DATA_DIR)

results: $(STAMP) ## train and evaluate all methods with three seeds, render docs/results.md (see SIZE and TRAININGS)
	$(BIN)/fos results --size=$(SIZE) --workdir=$(RUNS)/results --data_dir=$(DATA_DIR) --jobs=$(TRAININGS)

bench: $(STAMP) oracle ## run every benchmark; one JSON line each, appended to RUNS/benchmarks.jsonl
	@mkdir -p $(RUNS)
	@for file in $$(grep -l __main__ benchmarks/*.py); do echo "$$file" >&2; $(BIN)/python $$file || exit 1; done | tee -a $(RUNS)/benchmarks.jsonl

lock: $(STAMP) ## resolve requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header -o requirements.lock

clean: ## remove caches and build output; data, runs and the environment stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	rm -rf $(VENV)
