# Every target installs what it needs into .venv; Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check format bench champion requirements clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(STAMPS)/train  ## Train, judge, export and use a detector on generated lesions
	$(BIN)/melascope demo --out demo

test: $(STAMPS)/dev  ## Run every test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

coverage: $(STAMPS)/dev  ## Run every test and tell which lines none of them reaches
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-report=term $(PYTEST_ARGS)

check: $(STAMPS)/dev  ## Lint, types, imports between rooms
	$(BIN)/ruff format --check src tests benchmarks examples models
	$(BIN)/ruff check src tests benchmarks examples models
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/dev  ## Format and mend what can be mended
	$(BIN)/ruff check --fix src tests benchmarks examples models
	$(BIN)/ruff format src tests benchmarks examples models

bench: $(STAMPS)/dev  ## Run the benchmarks, peers beside us (BENCH_ARGS="--data FOLDER" for real images)
	$(BIN)/python -m benchmarks.training $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.predict $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.duplicates $(BENCH_ARGS)

champion: $(STAMPS)/train  ## Make the shipped model anew (DATA=folder WEIGHTS=mobilenetv2_imagenet.npz; see docs/champion.md)
	@test -n "$(DATA)" -a -n "$(WEIGHTS)" || { echo 'Say where the photographs and the ImageNet weights are: make champion DATA=photographs WEIGHTS=mobilenetv2_imagenet.npz'; exit 2; }
	$(BIN)/python -m models.champion.make "$(DATA)" --weights "$(WEIGHTS)" --out runs/champion $(CHAMPION_ARGS)

requirements:  ## Pin the dependencies again, with hashes
	@for extra in base train dev; do \
	  case $$extra in base) flags="";; train) flags="--extra train";; dev) flags="--extra train --extra tune --extra mlflow --extra dev";; esac; \
	  uv pip compile pyproject.toml requirements/build.in $$flags --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-strip-extras --no-emit-index-url --upgrade -q -o requirements/$$extra.txt || exit 1; \
	done

clean:  ## Remove the environment and what the demo wrote
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache

$(STAMPS)/%: requirements/%.txt pyproject.toml models/melascope-champion/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Melascope needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.11 (or newer).")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable models/melascope-champion
	@mkdir -p $(STAMPS) && touch $@
