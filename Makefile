PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: run test test-all check schema lock clean

run: .venv/run-ready
	@exec $(BIN)/foxtrot up

test: .venv/dev-ready
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

# The slow tests too, then the suite again on every other Postgres that Debian's packages put here.
test-all: .venv/dev-ready
	$(BIN)/python -m pytest
	@set -e; for bin in /usr/lib/postgresql/*/bin; do \
		[ -x $$bin/postgres ] || continue; \
		echo "== $$($$bin/postgres --version)"; \
		FOXTROT_TEST_BINARIES=$$bin $(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile; \
	done

check: .venv/dev-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The committed picture of the tables; a test compares it with what the migrations make.
schema: .venv/dev-ready
	$(BIN)/python -m migrations.snapshot

# Without the extra `jobspy`: pandas and all, for a source that is off. The tests have it from the group `dev`.
lock:
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --group build --group dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv .foxtrot

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/run-ready: requirements.lock pyproject.toml | $(BIN)/pip
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev-ready: requirements-dev.lock pyproject.toml | $(BIN)/pip
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ .venv/run-ready
