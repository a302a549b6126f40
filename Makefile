# `make demo` and `make test` each work alone on a fresh clone; both make .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
READY := $(VENV)/ready
export MPLBACKEND := Agg

.PHONY: setup demo test test-slow check format clean

setup: $(READY)

# pyradiomics 3.0.1 builds only where numpy and setuptools are there already, hence the two steps before radnet.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools wheel numpy
	$(PIP) --no-build-isolation pyradiomics
	$(PIP) --editable ".[train,reference,dev]"
	touch $@

# The effect planted is as strong as Zhao's validation AUC (0.92); what a model of 38 patients finds of it is another matter.
demo: $(READY)
	$(BIN)/python train.py experiment=zhao_mlp data.knobs.signal=1.9922 falsification=false optimism=none output=runs/demo overwrite=true
	$(BIN)/python evaluate.py run=runs/demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache
