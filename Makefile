# make serve   sets up .venv and serves the bundled model on port 8080
# make test    sets up .venv and runs ruff, mypy and the tests
# make fuzz    fuzzes the walk over TIFF headers, for FUZZ_SECONDS=180

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
FUZZ_SECONDS ?= 180

.PHONY: serve test fuzz clean

serve: .venv/installed-cpu
	$(BIN)/python -m service serve

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

fuzz: .venv/installed-fuzz
	$(BIN)/python -m tests.fuzz.header --seconds $(FUZZ_SECONDS)

clean:
	rm -rf .venv

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; say which with make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed-cpu: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[cpu]'
	touch $@

.venv/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[cpu,training,aws,dev]'
	touch $@ .venv/installed-cpu

.venv/installed-fuzz: .venv/installed-dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	touch $@
