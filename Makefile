# The tool belt. Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help install demo test lint format bench lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/' | sort

install: $(STAMP)  ## what demo and test share: the pinned packages and this one, in .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## a search on the built-in dataset: a Pareto table and the folder runs/demo
	$(RUN) cli.py search --dataset glyphs --trial-size 32 --image-size 64 --budget-gflops 0.002 --trials 8 \
	  --out runs/demo --resume

test: install  ## the test suite; LSTN_DATA_DIR=DIR adds the tests on real images
	$(RUN) -m pytest

lint: install  ## format check, lint, types
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

format: install  ## let ruff rewrite the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: install  ## the measurements behind the figures in benchmarks/*.md
	$(RUN) benchmarks/cost.py

lock:  ## pin what is installed in .venv (no index addresses go into the file)
	$(RUN) -m pip freeze --exclude-editable | grep -v '@' > requirements.lock

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
