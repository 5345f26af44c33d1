# make demo: set up, then the full setting with both scorings on a generated category and on small generated downloads
#   of each data set
# make test: set up, check the style (ruff), run the whole test suite
# make lint: the style alone
PYTHON ?= python3
VENV := .venv
DEMO := demo

.PHONY: demo test lint clean

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python tools/demo.py $(DEMO)

test: lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) $(DEMO)
