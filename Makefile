# Two commands for a newcomer: `make bench` and `make test`. Each makes its own .venv first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUT ?= runs/quick

.PHONY: help bench test lint types check clean

help:
	@echo "make bench   run the quick benchmark into $(OUT) (under 10 minutes on two cores)"
	@echo "make test    run the tests"
	@echo "make lint    ruff;  make types: mypy;  make check: test, lint and types"
	@echo "make clean   remove .venv and what was built"

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

bench: $(VENV)/installed
	$(RUN) -m benchmarks run --suite quick --out $(OUT)

test: $(VENV)/installed
	$(RUN) -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/installed
	$(VENV)/bin/mypy

check: test lint types

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
