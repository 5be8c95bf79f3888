# Needs make and Python 3.11 or newer, nothing else: everything is installed into .venv, every server runs from .run.
#
#   make demo [PORT=8000]   the whole product with demo data, until Ctrl-C; make demo-reset deletes its data
#   make test [ARGS=...]    the tests; ARGS goes to pytest, for example ARGS="tests/deliveries -k bounce"
#   make lint               ruff, mypy, import-linter
#   make bench              the short benchmark; make bench-large with 10 million deliveries
#   make shell              Django's shell on the demo's data
#   make messages           compile the message catalogues
#   make lock               resolve requirements/*.txt from pyproject.toml (needs uv); ARGS=--upgrade for newer versions

PYTHON ?= python3
PORT ?= 8000
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
WITH_SERVERS := $(PY) -m notifyguard.embedded run
# mypy reads the settings, which must be there, but connects to nothing.
NO_SERVERS := SECRET_KEY=lint NOTIFYGUARD_ENCRYPTION_KEYS=lint DATABASE_URL=postgresql:///lint

PO := $(wildcard locale/*/LC_MESSAGES/*.po)
MO := $(PO:.po=.mo)

# Without compiled modules every start takes twice as long; pip leaves the compiling to the first import.
unexport PYTHONDONTWRITEBYTECODE

# A .venv whose Python is gone (moved, or upgraded away) is made anew.
BROKEN := $(shell $(PY) -c '' 2>/dev/null || echo FORCE)

.PHONY: demo demo-reset test lint bench bench-large messages lock shell FORCE
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp $(MO)
	@exec $(PY) manage.py demo --port $(PORT)

demo-reset: $(VENV)/demo.stamp
	@exec $(PY) manage.py demo --reset

shell: $(VENV)/demo.stamp
	@exec $(WITH_SERVERS) --share --folder .run/demo -- $(PY) manage.py shell

test: $(VENV)/dev.stamp $(MO)
	@exec $(WITH_SERVERS) --folder .run/test -- $(PY) -m pytest -n 2 $(ARGS)

lint: $(VENV)/dev.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(NO_SERVERS) $(PY) -m mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/dev.stamp $(MO)
	@exec $(WITH_SERVERS) --folder .run/bench -- $(PY) -m bench $(ARGS)

bench-large: $(VENV)/dev.stamp $(MO)
	@exec $(WITH_SERVERS) --folder .run/bench -- $(PY) -m bench --large $(ARGS)

messages: $(MO)

%.mo: %.po | $(VENV)/demo.stamp
	@$(VENV)/bin/pybabel compile --input-file $< --output-file $@ --locale $(word 2,$(subst /, ,$<))

$(VENV)/demo.stamp: requirements/demo.txt $(BROKEN)
	$(call install,$<)
	@touch $@

# What the tests need includes what the demo needs.
$(VENV)/dev.stamp: requirements/dev.txt $(BROKEN)
	$(call install,$<)
	@touch $@ $(VENV)/demo.stamp

define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "NotifyGuard needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12" >&2; exit 1; }
@$(PY) -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } || { rm -rf $(VENV); exit 1; }
@echo "Installing $(1) into $(VENV) (only when it has changed)"
@$(PY) -m pip install --disable-pip-version-check -qq --no-compile --require-hashes -r $(1)
endef

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv." >&2; exit 1; }
	$(call resolve,production,)
	$(call resolve,demo,--extra demo --constraints requirements/production.txt)
	$(call resolve,dev,--extra demo --extra dev --constraints requirements/demo.txt)

define resolve
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	$(ARGS) $(2) pyproject.toml --output-file requirements/$(1).txt
endef
