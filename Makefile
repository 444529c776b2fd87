# The tool belt. Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help install demo test lint format docs dist bench chaos abuse lock clean
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

demo: install  ## a search for nets that find glyphs in clutter (some minutes): runs/demo with found.png and report.html
	$(RUN) cli.py search --dataset clutter --poses known --view none --trial-size 32 --image-size 64 \
	  --budget-gflops 0.002 --trials 4 --recover-steps 1500 --warm-epochs 4 --ladder 1,3 --out runs/demo --resume
	$(RUN) cli.py show runs/demo --out runs/demo/found.png
	$(RUN) cli.py report runs/demo

test: install  ## the test suite; LSTN_DATA_DIR=DIR adds the tests on real images
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: install  ## format check, lint, types, no half-merged file
	@! grep -rnE '^(<<<<<<<|>>>>>>>)( |$$)' --exclude-dir=.git --exclude-dir=$(VENV) .
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

format: install  ## let ruff rewrite the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: install  ## the docs as a site in build/docs, to be read without a network
	$(RUN) -m mkdocs build --quiet

dist: install  ## the package as dist/*.tar.gz and dist/*.whl
	$(RUN) -m hatchling build

bench: install  ## the measurements behind the figures in benchmarks/*.md
	$(RUN) benchmarks/cost.py
	$(RUN) benchmarks/overhead.py
	$(RUN) benchmarks/report.py
	@if [ -n "$$LSTN_DATA_DIR" ]; then \
	  $(RUN) benchmarks/throughput.py stages --archs lstn light r0 r1 --repeats 2 && \
	  $(RUN) benchmarks/throughput.py baseline --epochs 1 && \
	  $(RUN) benchmarks/throughput.py ours --ladder 2; \
	else echo "throughput: set LSTN_DATA_DIR to the folder that holds caltech101"; fi

chaos: install  ## kill commands and workers at random instants: nothing finished may be lost
	$(RUN) benchmarks/chaos.py --kills 200 --seed 0 --out benchmarks/chaos.md

abuse: install  ## bad input by the thousand and hostile artefacts: one line each, nothing touched
	$(RUN) benchmarks/abuse.py --seed 0
	$(RUN) benchmarks/artefacts.py --out benchmarks/artefacts.md

lock:  ## pin what pyproject.toml asks for, from a fresh environment; no index addresses go into the file
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	{ echo "# Made by \`make lock\`. What torch brings along for one platform only (CUDA, triton) is left to torch, which pins it."; \
	  .lock-venv/bin/pip freeze --exclude-editable | grep -v -E '@|^(nvidia|cuda|triton)'; } > requirements.lock
	rm -rf .lock-venv

clean:  ## remove .venv, caches and what docs and dist built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
