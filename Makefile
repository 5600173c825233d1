# Two commands: `make demo` and `make test`. Both set up .venv themselves, from Python 3.11+ alone.
#
# TORCH_BACKEND=cpu takes the small CPU build of torch and torchvision, where your network has it.

PYTHON ?= python3
TORCH_BACKEND ?=
BIN := .venv/bin
# The pins name the CUDA libraries of the registry's torch; the CPU build needs none of them.
PINS = $(if $(filter cpu,$(TORCH_BACKEND)),grep -v -E '^(nvidia-|cuda-|triton)' $(1),cat $(1))
INSTALL = $(call PINS,$(1)) > .venv/pins.txt \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python -r .venv/pins.txt $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . \
	&& touch $(2)

.PHONY: demo test drills lint docs pins clean

demo: .venv/demo.done  ## the whole line on a synthetic city, ending in a report
	$(BIN)/chorograph demo --out demo

test: .venv/all.done  ## every test; those that need a browser skip, with a count, where there is none
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

drills: .venv/all.done  ## every drill: 10,000 mutated inputs, kills, outputs, memory (hours; root for full disks)
	CHOROGRAPH_DRILLS=10000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/drills
	$(BIN)/python tests/drills/programs/kill.py --exe $(BIN)/chorograph --strict
	$(BIN)/python tests/drills/programs/output.py --exe $(BIN)/chorograph
	$(BIN)/python tests/drills/programs/memory.py --exe $(BIN)/chorograph

lint: .venv/all.done  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/all.done  ## the site, in site/; a broken link or anchor is an error
	$(BIN)/zensical build --strict

pins: .venv/uv.done  ## pin anew what the set-up installs
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements/all.txt
	$(BIN)/uv pip compile pyproject.toml --extra models --universal --python-version 3.11 -c requirements/all.txt \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o requirements/demo.txt

clean:
	rm -rf .venv demo site .cache

.venv/uv.done:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'chorograph needs Python 3.11 or newer')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

.venv/demo.done: .venv/uv.done requirements/demo.txt pyproject.toml
	$(call INSTALL,requirements/demo.txt,$@)

.venv/all.done: .venv/uv.done requirements/all.txt pyproject.toml
	$(call INSTALL,requirements/all.txt,$@)
