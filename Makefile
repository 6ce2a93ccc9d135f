# Every target makes .venv itself; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat requirements/dev.txt requirements/bootstrap.txt pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: help install serve test test-all check fix bench demo lock format clean

help: ## what there is to call
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## make .venv with the palomar command in it

$(STAMP): requirements/dev.txt requirements/bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Palomar needs Python 3.11 or newer; say which one with: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-config --require-hashes -r requirements/dev.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-config --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-*
	@touch $@

serve: install ## run a hub on this machine; its data goes to ./data (or PALOMAR_DATA)
	@$(BIN)/palomar serve

test: install ## the fast tests: no network, no services
	@$(BIN)/python -m pytest -n auto

test-all: install ## every ring: real clients, PostgreSQL, faults, browser
	@$(BIN)/python -m pytest -m "" -n auto --dist loadgroup

check: install ## the whole definition of clean
	@$(BIN)/python -m tools.check

fix: install ## as check, and first repair what a machine can repair
	@$(BIN)/python -m tools.check --fix

bench: install ## measure against named peers, write docs/benchmarks.md
	@$(BIN)/python -m benchmarks

demo: install ## the announcement's story, with real clients on a temporary hub
	@$(BIN)/python -m demo

format: install ## put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only --quiet .

lock: install ## resolve the dependencies anew
	@$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --group dev --extra server pyproject.toml -o requirements/dev.txt
	@echo 'uv' | $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/dev.txt - -o requirements/bootstrap.txt

clean: ## remove what was built
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
