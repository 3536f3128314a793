# The two commands a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: demo demo-tags test lint types crash kills kills-tags bench clean

demo: $(STAMP)
	$(BIN)/headrace demo papers

demo-tags: $(STAMP)
	$(BIN)/headrace demo tags

test: $(STAMP) lint types
	$(BIN)/python -m pytest -n 2 tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

crash: $(STAMP)
	$(BIN)/python -m headrace.testing.crash --kills 200

# A thousand kills of every kind of job: some twenty minutes, and the report to go with them.
kills: $(STAMP)
	$(BIN)/python -m headrace.testing.campaign --kills 1000

# Three hundred kills of a job that makes histories of sensor files, and its lines doubled in the paper's layout.
kills-tags: $(STAMP)
	$(BIN)/python -m headrace.testing.tags_campaign --kills 300

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml hatch_build.py $(wildcard src/headrace/*/*.c src/headrace/*/*/*.c)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all]' \
		'hypothesis>=6.150' 'mypy>=2.1' 'pytest>=9' 'pytest-xdist>=3.8' 'ruff>=0.16'
	touch $(STAMP)

clean:
	rm -rf $(VENV) headrace-demo headrace-demo-tags headrace-experiment-tags
