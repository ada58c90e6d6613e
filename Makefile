# Everything runs in .venv, which any target makes and fills when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types clean

demo: $(STAMP)
	$(BIN)/metricsmith demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p metricsmith

# mypy sees the installed layout (metricsmith.agent → agent/) through links.
types:
	mkdir -p build/types/metricsmith
	for folder in agent evaluation metrics_generated prompts sandbox; do \
		ln -sfn ../../../$$folder build/types/metricsmith/$$folder; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metricsmith needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
