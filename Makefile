# The README's commands as targets.
PYTHON ?= python3

.PHONY: digits test lint stress clean

digits:        ## from a fresh clone to a trained model and its picture
	$(PYTHON) -m venv .venv && .venv/bin/pip install . && .venv/bin/zerosum train

test:          ## from a fresh clone to a passing test suite
	$(PYTHON) -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest

lint:          ## what the test suite also checks
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

stress:        ## the tests that take minutes
	.venv/bin/python -m pytest -m slow

clean:
	rm -rf .venv build dist *.egg-info
