# `make help` lists the targets. Everything runs in .venv, which is made at first use and then reused.
#   PYTHON=python3.11     interpreter for .venv (3.10, 3.11 or 3.12)
#   TORCH="torch==2.9.1"  another torch, a GPU build for example      GPU=1 / GPU=0  faiss-gpu / faiss-cpu
#   AUDIO=folder          recordings for demo-audio     BACKBONE=model  a pretrained language model for librispeech-mini
#   ARGS="-k losses"      more arguments for pytest                   WORKERS=2      test processes
PYTHON ?=
TORCH ?=
GPU ?=
ARGS ?=
WORKERS ?= 2
PRESET ?= quick
AUDIO ?=
SOAK ?= 100
INPUTS ?= 100000
BACKBONE ?=

BOOTSTRAP := $(firstword $(shell command -v python3) $(shell command -v python) $(PYTHON))
RUN := .venv/bin/python
# One thread a process: the machine's cores are shared out by WORKERS.
TEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal
# But for load.py, which takes more than an hour.
BENCHMARKS := $(filter-out benchmarks/load.py,$(wildcard benchmarks/[a-z]*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-audio librispeech-mini test test-slow test-gpu setup-fairseq2 test-fairseq2 lint format typecheck docs bench matrix soak fuzz clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:  ## make .venv and install everything (3 to 5 minutes; at once if it is there)
	@if [ -z "$(BOOTSTRAP)" ]; then echo "setup: no Python found: install Python 3.11" >&2; exit 1; fi
	@"$(BOOTSTRAP)" scripts/setup_environment.py $(if $(PYTHON),--python "$(PYTHON)") $(if $(TORCH),--torch "$(TORCH)") \
		$(if $(filter 1,$(GPU)),--gpu) $(if $(filter 0,$(GPU)),--cpu)

demo: setup  ## three criteria on two kinds of units of spoken digits: train, decode, score, report (PRESET=quick or full)
	@$(RUN) scripts/demo.py --preset $(PRESET)

demo-audio: setup  ## recordings to a word error rate: prompts fetched by apt-get, or AUDIO=folder
	@$(RUN) scripts/demo_audio.py $(if $(AUDIO),--audio "$(AUDIO)") $(ARGS)

librispeech-mini: setup  ## train on LibriSpeech's train-clean-5, decode and score test-clean (PRESET=standard or long)
	@$(RUN) scripts/librispeech_mini.py --preset $(if $(filter quick full,$(PRESET)),standard,$(PRESET)) $(ARGS) \
		$(if $(BACKBONE),--backbone "$(BACKBONE)")

test: setup  ## the test suite, without what is slow or needs a GPU
	@$(TEST) -m "not slow and not gpu" $(ARGS)

test-slow: setup  ## the slow tests
	@$(TEST) -m "slow and not gpu" $(ARGS)

test-gpu: setup  ## the tests that need a GPU
	@$(RUN) -m pytest -m gpu $(ARGS)

setup-fairseq2:  ## make .venv-fairseq2 (7 GB, 5 minutes; at once if it is there): the extension of fairseq2
	@bash scripts/setup_fairseq2.sh $(PYTHON)

test-fairseq2: setup-fairseq2  ## the tests of the extension
	@OMP_NUM_THREADS=1 .venv-fairseq2/bin/python -m pytest tests-fairseq2 $(ARGS)

lint: setup  ## style and common mistakes
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

format: setup  ## rewrite the sources in the project's style
	@$(RUN) -m ruff format . && $(RUN) -m ruff check --fix .

typecheck: setup  ## types
	@$(RUN) -m mypy

docs: setup  ## the documentation as a site in site/, every link checked
	@$(RUN) -m mkdocs build --strict --quiet && echo "open site/index.html"

bench: setup  ## every benchmark, results in runs/bench/*.json
	@mkdir -p runs/bench
	@set -e; for script in $(BENCHMARKS); do name=$$(basename $$script .py); echo "$$name …"; \
		$(RUN) $$script --json > runs/bench/$$name.part; mv runs/bench/$$name.part runs/bench/$$name.json; done

matrix:  ## every supported Python, with its fairseq, under the oldest and the newest torch (a quarter of an hour each)
	@python3 scripts/matrix.py $(ARGS)

soak: setup  ## kill every stage at random moments, SOAK=100 times, and compare with undisturbed runs (20 minutes)
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(RUN) -m support.kill_runs --kills $(SOAK)

fuzz: setup  ## try every reader with INPUTS=100000 strange files (3 minutes)
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(RUN) -m support.fuzz --inputs $(INPUTS) 2>/dev/null

clean:  ## remove .venv and caches; runs/ stays
	@rm -rf .venv .venv-setup.log .venv-setup.lock build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
