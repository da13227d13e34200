# Everything a developer runs. Needs Python and make; the rest is installed into .venv.

PYTHON ?= python3
EXTRAS ?= dev
JOBS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup test lint format types wheel coverage demo zoo bench fuzz soak conformance clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create .venv and install graphopt with EXTRAS (default: dev) into it

# Re-made when pyproject.toml or the C half of the scheduler changes, which is compiled in place
# where there is a compiler; the stamp is inside, so a removed .venv is made anew.
$(STAMP): pyproject.toml graphopt/engine/_accel.c graphopt/engine/_slots.h
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

test: $(STAMP) ## run all tests and doctests (fuzz and conformance: their small slice)
	$(PY) -m pytest -n $(JOBS)

lint: $(STAMP) ## check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(STAMP) ## format the code and mend what can be mended
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(STAMP) ## check types with mypy and pyright, both strict
	$(PY) -m mypy
	$(PY) -m pyright

wheel: $(STAMP) ## build the wheel into dist/ and check it in a clean environment
	$(PY) tools/check_wheel.py

coverage: $(STAMP) ## run the tests in one process and show the lines they miss
	$(PY) -m coverage run -m pytest
	$(PY) -m coverage report

demo: $(STAMP) ## show what graphopt does, on a small model
	$(PY) -m tools.demo

zoo: $(STAMP) ## optimize and check every real model, and run it on every backend
	$(PY) -m tools.zoo
	$(PY) -m tools.zoo_backends

bench: $(STAMP) ## measure optimizing and running times
	$(PY) -m tools.bench
	$(PY) -m tools.bench_runtime
	$(PY) -m tools.bench_scale
	$(PY) -m tools.bench_layout
	$(PY) -m tools.bench_function
	$(PY) -m tools.bench_jax
	$(PY) -m tools.bench_engine
	$(PY) -m tools.bench_engine_speedup --pin
	$(PY) -m tools.bench_plans
	$(PY) -m tools.latency

fuzz: $(STAMP) ## run the generated-program tests at full size
	GRAPHOPT_FULL=1 $(PY) -m pytest -n $(JOBS) -m fuzz
	$(PY) -m tools.fuzz --graphs 10000 --jobs $(JOBS) --jax
	$(PY) -m tools.fuzz_engine --mode sim --programs 100000
	$(PY) -m tools.fuzz_engine --mode threads --programs 10000

soak: $(STAMP) ## interrupt, fork and load the engine for half an hour
	$(PY) -m tools.soak interrupts --count 1000
	$(PY) -m tools.soak forks --count 1000
	$(PY) -m tools.soak load --minutes 30

conformance: $(STAMP) ## run the conformance suites at full size
	GRAPHOPT_FULL=1 $(PY) -m pytest -n $(JOBS) -m conformance

clean: ## remove the environment, what was built, and the caches
	rm -rf $(VENV) build dist *.egg-info .coverage .hypothesis graphopt/engine/_accel.*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
