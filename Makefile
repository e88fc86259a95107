# make ablate    train on the embedded default under BLEU and COMET and rank the rewards (ARGS="--seeds 0,1" adds flags)
# make test      run the whole suite, two tests at a time   (ARGS="tests/rewards" narrows it, JOBS=4 takes more cores)
# make study     the unhurried ablation: five seeds, into runs/study
# make lint, make types, make clean
#
# Each makes the virtual environment first if need be. PYTHON picks the interpreter, VENV the place; TRANSFORMERS=5 the
# newest transformers, which leaves no room for unbabel-comet (with a VENV of its own: `make test TRANSFORMERS=5
# VENV=.venv-5`).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= 2
TRANSFORMERS ?=

BIN := $(VENV)/bin
# The interpreter that counts is that of an environment already there.
INTERPRETER := $(firstword $(wildcard $(BIN)/python) $(PYTHON))
MINOR := $(shell $(INTERPRETER) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifeq ($(MINOR),)
$(error $(INTERPRETER) does not run: name a Python of 3.10 or later, as in `make test PYTHON=python3.11`)
endif

# unbabel-comet, against which our COMET is tested, has a tested set for these only, with transformers 4.
ifneq ($(filter-out 4 5,$(TRANSFORMERS)),)
$(error TRANSFORMERS=$(TRANSFORMERS): choose 4 or 5)
endif
COMET := $(if $(filter 5,$(TRANSFORMERS)),,$(filter 3.11 3.12,$(MINOR)))
ifeq ($(TRANSFORMERS)$(COMET),4)
$(error transformers 4 is tested with Python 3.11 and 3.12, not $(MINOR): leave TRANSFORMERS out, or name another PYTHON)
endif
ifneq ($(COMET),)
CONSTRAINTS := constraints.txt
EXTRAS := comet,tts,rewards,datasets
else
CONSTRAINTS := constraints-no-comet.txt
EXTRAS := tts,rewards,datasets
endif

.PHONY: ablate study test lint types clean

ablate: $(VENV)/.installed
	$(BIN)/speechbench ablate --rewards bleu,comet $(ARGS)

study: $(VENV)/.installed
	$(BIN)/speechbench ablate --rewards bleu,comet --seeds 0,1,2,3,4 --out runs/study $(ARGS)

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(ARGS)

types: $(VENV)/.installed-dev
	$(BIN)/mypy $(ARGS)

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find speechbench tests benches examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Each stamp says that the extras were installed from these very files.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e '.[$(EXTRAS),test]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e '.[$(EXTRAS),dev]'
	touch $@
