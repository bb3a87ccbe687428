# Everything runs in .venv, which these targets make by themselves. `make demo` and `make test` are all one needs.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test lint soak bench plots proto clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/installed  ## start a store, load the sample graph, ask it questions, add a fact, ask again
	$(BIN)/python examples/demo.py

test: lint  ## everything that must hold before a commit lands
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: .venv/installed  ## stores broken in every way; SOAK="kills --for 2h" says what, for how long (CONTRIBUTING.md)
	$(BIN)/python -m tests.soak $(SOAK)

.venv/bench-installed: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

bench: .venv/bench-installed  ## every measurement, each beside its peer; an hour or two
	$(BIN)/python bench/all.py

plots: .venv/bench-installed  ## the plots of docs/plots/ from what the last benches left
	$(BIN)/python bench/plots.py

proto: .venv/installed  ## regenerate the contract's code
	$(BIN)/python proto/generate.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
