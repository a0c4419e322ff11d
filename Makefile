# make help says what there is. PYTHON= chooses the interpreter that .venv is made with.
#
# Everything is installed with plain pip, so pip's own settings hold: PIP_EXTRA_INDEX_URL, for
# one, to take another build of torch.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# A stamp is touched when its step is done; as they lie in .venv, they go when it goes.
DONE := $(VENV)/.done
# Stands there while a set-up runs, and still does when it was interrupted or failed.
UNFINISHED := $(VENV)/.unfinished
PIP := $(PY) -m pip --disable-pip-version-check
PIP_PIN := pip==26.3
# The Pythons with a tested set, and the one of .venv, or that .venv is to be made with.
PYTHONS := $(patsubst requirements/%/stack.txt,%,$(sort $(wildcard requirements/*/stack.txt)))
IS := $(shell $(or $(wildcard $(PY)),$(PYTHON)) \
  -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
SET := requirements/$(IS)

.PHONY: help setup .ready demo test reliability mutants docs linkcheck pins check-pins matrix \
  lint clean
.DELETE_ON_ERROR:

help:
	@echo 'make setup   make .venv with everything needed, at the tested versions'
	@echo 'make demo    set up, then plain against distilled on drawn people: demo_out/ (6 minutes)'
	@echo 'make test    set up, then the tests (the slow ones: .venv/bin/python -m pytest -m slow)'
	@echo 'make reliability   set up, then all that docs/reliability.md is about, also what takes long'
	@echo 'make mutants  set up, then break 300 lines and see whether a test notices (an hour)'
	@echo 'make docs    set up, then the pages as HTML: build/docs/html (make linkcheck: links elsewhere)'
	@echo 'make lint    set up, then ruff'
	@echo 'make clean   remove .venv and everything generated'
	@echo 'make matrix  make an environment of each combination of versions, and test there'
	@echo 'make pins    make the tested sets of all Pythons anew; make check-pins: is .venv its set'
	@echo 'PYTHON=...   the Python to make .venv with (default python3): $(PYTHONS)'

# The environment is looked at before make weighs the stamps in it, hence the second make.
setup:
	@if [ -e $(VENV) ]; then \
	  if [ -e $(UNFINISHED) ]; then \
	    echo 'make: the last set-up did not finish, making $(VENV) anew'; rm -rf $(VENV); \
	  elif ! $(PY) -c 'import pip' >/dev/null 2>&1; then \
	    echo 'make: $(VENV) does not work, making it anew'; rm -rf $(VENV); \
	  fi; \
	fi
ifneq ($(filter command environment,$(origin PYTHON)),)
	@if [ -e $(VENV) ]; then \
	  has=$$($(PY) -V); asked=$$($(PYTHON) -V 2>&1) || asked='not a working Python'; \
	  if [ "$$has" != "$$asked" ]; then \
	    echo "make: $(VENV) has $$has, PYTHON=$(PYTHON) is $$asked: run 'make clean' first," \
	      'or leave PYTHON= out' >&2; exit 1; \
	  fi; \
	fi
endif
	@$(MAKE) --no-print-directory .ready

ifneq ($(filter $(IS),$(PYTHONS)),)
.ready: $(DONE)/project
	@:
else
.ready:
	@echo 'make: there are tested sets for Python $(PYTHONS), $(PYTHON) is' \
	  '$(or $(IS),not there): name one with PYTHON=python$(lastword $(PYTHONS))' >&2; exit 1
endif

$(DONE)/venv:
	rm -rf $(VENV)
	mkdir $(VENV) && touch $(UNFINISHED)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q $(PIP_PIN)
	@mkdir -p $(DONE) && touch $@

$(DONE)/stack: $(SET)/stack.txt $(DONE)/venv
	@touch $(UNFINISHED)
	@echo 'make: fetching the tested set of packages, torch among them; this takes a while'
	$(PIP) install -q --no-compile -r $<
	@$(PY) -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || :  # as pip would, on all cores
	@touch $@

# Does nothing where the set has a wheel of it.
$(DONE)/xtcocotools: requirements/build_xtcocotools.py $(DONE)/stack
	@touch $(UNFINISHED)
	$(PY) $<
	@touch $@

$(DONE)/stack-no-deps: $(SET)/stack-no-deps.txt $(DONE)/stack
	@touch $(UNFINISHED)
	$(PIP) install -q --no-deps -r $<
	@touch $@

$(DONE)/dev: $(SET)/dev.txt $(DONE)/stack-no-deps
	@touch $(UNFINISHED)
	$(PIP) install -q -r $<
	@touch $@

# So that MMPose works here without mmpose_kd too, whichever mmcv is installed.
$(DONE)/mmcv: mmpose_kd/_mmcv_ext_stub.py $(DONE)/stack-no-deps
	$(PY) $<
	@touch $@

$(DONE)/project: setup.py pyproject.toml mmpose_kd/version.py $(DONE)/dev $(DONE)/mmcv \
    $(DONE)/xtcocotools
	@touch $(UNFINISHED)
	$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@ && rm -f $(UNFINISHED)

demo: setup
	$(VENV)/bin/mmpose-kd demo --out demo_out

test: setup
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

reliability: setup
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal -m reliability

# docs/mutants.md says what it does. What was run already is not run again.
MUTANTS := build/mutants

$(MUTANTS)/drawn.json: requirements/mutants.txt benchmarks/mutants/draw.py
	$(PY) -m venv $(MUTANTS)/.venv
	$(MUTANTS)/.venv/bin/python -m pip --disable-pip-version-check install -q -r $<
	$(MUTANTS)/.venv/bin/python benchmarks/mutants/draw.py --out $@

mutants: setup $(MUTANTS)/drawn.json
	$(PY) benchmarks/mutants/run.py benchmarks/mutants/by_hand.json \
	  --results $(MUTANTS)/by_hand.csv
	$(PY) benchmarks/mutants/run.py $(MUTANTS)/drawn.json --results $(MUTANTS)/results.csv

# Sphinx reads the package's docstrings, so it needs .venv; what it needs itself lies beside that.
DOCS := build/docs
SPHINX := PYTHONPATH=$(DOCS)/packages $(PY) -W ignore -m sphinx -c docs -W --keep-going -q

$(DOCS)/packages/.done: requirements/docs.txt | setup
	rm -rf $(DOCS)/packages
	$(PIP) install -q --no-deps --target $(DOCS)/packages -r $<
	@touch $@

docs: $(DOCS)/packages/.done
	$(SPHINX) -b html . $(DOCS)/html
	@echo 'make: $(DOCS)/html/docs/index.html'

# Needs the network.
linkcheck: $(DOCS)/packages/.done
	$(SPHINX) -b linkcheck . $(DOCS)/linkcheck

# What makes the sets and the environments of the matrix, in an environment of its own.
UV := build/uv

$(UV)/done: requirements/uv.txt
	$(PYTHON) -m venv $(UV)
	$(UV)/bin/python -m pip --disable-pip-version-check install -q -r $<
	@touch $@

pins: $(UV)/done
	$(UV)/bin/python requirements/pins.py make

check-pins: setup
	$(PY) requirements/pins.py check

# docs/install.md says what it does. PART=smoke runs a part of the tests; what was run already is
# not run again.
PART := fast

matrix: $(UV)/done
	$(UV)/bin/python requirements/matrix.py --part $(PART)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean:
	rm -rf $(VENV) build dist *.egg-info demo_out .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
