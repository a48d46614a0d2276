# FSAF, the course. Every target sets up what it needs, once. All paths are relative: the folder may have any name.

PYTHON ?= python3
PY := .venv/bin/python
# A set-up holds for these dependencies in this place: another pyproject.toml, or a moved folder, is set up again.
KEY := $(shell { pwd; cat pyproject.toml; } | cksum | cut -d ' ' -f 1)
READY := .venv/ready-$(KEY)
READY_SITE := .venv/ready-site-$(KEY)
# How packages get into .venv; `make check INSTALL="uv pip install --torch-backend cpu"` takes smaller ones, without CUDA.
INSTALL ?= $(PY) -m pip install --disable-pip-version-check --progress-bar on --no-compile
# One quiet thread: the same sums everywhere, and no spinning threads on a busy machine.
STEADY := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
ROOT_USER := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)

# A process for each core, at most four; the tests of a file, and the cells of a notebook, stay in one of them, in their order.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

# Which notebooks are trusted is kept in .venv, not in your home.
NOTARY := --NotebookNotary.db_file=.venv/trusted.db --NotebookNotary.secret_file=.venv/trusted.key

# Without the test that compiles: it takes a minute alone.
UNIT_TESTS := tests/method tests/model --ignore=tests/method/test_device.py

.DEFAULT_GOAL := help
.PHONY: help setup lab train check test test-all test-gpu test-oldest coverage lint notebooks notebooks-mutate core-mutate course-model site package clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1 \2/p' Makefile | awk '{ printf "  %s %-16s", $$1, $$2; $$1 = $$2 = ""; print }'

setup: $(READY)  ## only the set-up: .venv with everything that the targets below need

$(READY):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "This needs Python 3.10 or newer, and '$(PYTHON)' is not: install one, or name it: make PYTHON=python3.12 ..."; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "'$(PYTHON)' lacks venv or ensurepip: install them (Debian, Ubuntu: apt install python3-venv), then run this again."; exit 1; }
	@echo "Set-up 1/3: making a virtual environment in .venv (seconds)."
	@"$(PYTHON)" -m venv .venv
	@echo "Set-up 2/3: installing PyTorch, JupyterLab and the rest into it (several minutes; on Linux about 6 GB, most of it PyTorch)."
	@$(INSTALL) -e ".[dev]"
	@echo "Set-up 3/3: first start of PyTorch and of matplotlib, which looks for fonts (seconds)."
	@$(PY) -c 'import matplotlib.pyplot, torchvision'
	-@$(PY) -m jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements 2>/dev/null  # asks about news
	@rm -f .venv/ready-*
	@touch $@

# Widgets are saved with their notebook, so that an explorer works again when the notebook is opened the next day.
define LAB_SETTINGS
{"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": true}}
endef
export LAB_SETTINGS
# Exported pages show the still: a live widget would be loaded from other hosts.
EXPORT := $(addprefix --NbConvertBase.display_data_priority=,image/svg+xml text/html image/png image/jpeg text/markdown text/latex text/plain)

lab: $(READY)  ## JupyterLab in your browser, at the first notebook
	@echo "Starting JupyterLab (about 10 seconds); it listens on this machine only. Ctrl-C twice ends it."
	@mkdir -p .venv/share/jupyter/lab/settings && printf '%s\n' "$$LAB_SETTINGS" > .venv/share/jupyter/lab/settings/overrides.json
	@$(PY) -m jupyter trust $(NOTARY) notebooks/*.ipynb >/dev/null  # so that stored pictures show at once
	$(PY) -m jupyterlab $(ROOT_USER) $(NOTARY) --ip=127.0.0.1 --ServerApp.root_dir=. \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb --LabApp.extension_manager=readonly \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None \
		--LanguageServerManager.autodetect=False $(EXPORT) $(LAB_ARGS)

train: $(READY)  ## generate scenes, train, evaluate and draw, in runs/tiny
	@echo "Generating the scenes, then training, evaluating and drawing (about 10 minutes on two CPU cores)."
	$(PY) -m fsaf_core train tiny

check: $(READY)  ## while you work: ruff, the import contract, unit tests of method and model (a minute)
	$(PY) -m ruff check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-logo", "--no-cache"])'
	$(STEADY) FSAF_EXAMPLES=50 $(PY) -m pytest -q -o addopts= -p no:nbval -p no:cacheprovider $(UNIT_TESTS) $(PYTEST_ARGS)

test: $(READY)  ## ruff, the import contract, the tests and the notebooks, in one pytest run
	@echo "Testing: code style, import contract, tests, then every notebook against its stored outputs (15 to 20 minutes on two cores)."
	$(STEADY) $(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS)

test-all: $(READY_SITE)  ## the same with the slow tests, then what depends on the CPU under every instruction set it has
	@echo "Testing everything, the slow tests too (this can take hours)."
	$(STEADY) $(PY) -m pytest -m "slow or not slow" $(PYTEST_ARGS)
	@echo "Testing under every instruction set that this CPU has, then everything under the lowest (an hour)."
	$(PY) tests/instruction_sets.py
	$(PY) tests/instruction_sets.py --lowest

test-gpu: $(READY)  ## checks and timings that need a GPU, as a table in tests/records/gpu.md (5 minutes)
	$(PY) tests/gpu.py $(GPU_ARGS)

# Only the package's own dependencies are held to their lower bounds; the tools around it may be new.
test-oldest:  ## the tests with the oldest dependencies that pyproject.toml allows, in build/oldest
	@mkdir -p build
	@sed -n '/^dependencies/,/^]/ s/^ *"\([^>]*\)>=\([0-9.]*\)".*/\1==\2/p' pyproject.toml > build/oldest.txt
	@echo "Installing into build/oldest:" `cat build/oldest.txt`
	@"$(PYTHON)" -m venv build/oldest
	@build/oldest/bin/python -m pip install --disable-pip-version-check --progress-bar on -c build/oldest.txt -e ".[dev]"
	$(STEADY) build/oldest/bin/python -m pytest tests $(PYTEST_ARGS)

coverage: $(READY)  ## how much of the core the quick tests reach: 95 % of its lines, or it fails
	@echo "Testing without notebooks and browser, counting lines (several minutes)."
	$(STEADY) $(PY) -m pytest tests -m "not slow" -o addopts= -p no:nbval --ignore=tests/notebooks --ignore=tests/browser \
		--cov --cov-report=term $(PYTEST_ARGS)

lint: $(READY)  ## ruff, the import contract, mypy
	$(PY) -m ruff check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-logo", "--no-cache"])'
	$(PY) -m mypy

notebooks: $(READY)  ## run all notebooks and store their outputs
	@echo "Running every notebook and storing its outputs (about 10 minutes)."
	$(STEADY) $(PY) tests/notebooks/make_notebooks.py

notebooks-mutate: $(READY)  ## change stored outputs at 200 places: the comparison must notice
	@echo "Running every notebook once, then comparing with changed outputs (about 8 minutes)."
	$(STEADY) $(PY) tests/notebooks/mutate_notebooks.py

core-mutate: $(READY)  ## change method and model at more than 100 places: the rule's test must notice each
	@echo "Changing a copy of method and model at one place after the other (about 15 minutes)."
	$(STEADY) $(PY) tests/mutate_core.py

course-model: $(READY)  ## train the course's own checkpoint again and store it beside the notebooks
	@echo "Training the course's checkpoint again, then ten short runs with faults (about 20 minutes on two CPU cores)."
	$(PY) tests/notebooks/make_course_model.py
	$(STEADY) $(PY) tests/notebooks/make_faults.py

$(READY_SITE): $(READY)
	@echo "Installing Sphinx for the site (a minute)."
	@$(PY) -m pip install --disable-pip-version-check -q -e ".[site]"
	@touch $@

site: $(READY_SITE)  ## the notebooks as web pages with every figure alive, in site/index.html
	@echo "Rendering the notebooks with their stored outputs (about a minute)."
	$(STEADY) $(PY) tests/notebooks/make_site.py site build/site
	@echo "Open site/index.html."

package: $(READY)  ## source archive and wheel, checked, in dist/
	@echo "Building and checking the packages (a minute)."
	@$(PY) -m pip install --disable-pip-version-check -q -e ".[release]"
	@rm -rf dist
	$(PY) -m build
	$(PY) -m twine check --strict dist/*

clean:  ## remove all that these targets made, but not data/ and runs/
	rm -rf .venv build dist site .ruff_cache .mypy_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info .coverage
