# FSAF, the course. Every target sets up what it needs, once. All paths are relative: the folder may have any name.

PYTHON ?= python3
PY := .venv/bin/python
# A set-up holds for these dependencies in this place: another pyproject.toml, or a moved folder, is set up again.
KEY := $(shell { pwd; cat pyproject.toml; } | cksum | cut -d ' ' -f 1)
READY := .venv/ready-$(KEY)
READY_SITE := .venv/ready-site-$(KEY)
# How packages get into .venv; `make check INSTALL="uv pip install --torch-backend cpu"` takes smaller ones, without CUDA.
INSTALL ?= $(PY) -m pip install --disable-pip-version-check --progress-bar on
# One quiet thread: the same sums everywhere, and no spinning threads on a busy machine.
STEADY := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
ROOT_USER := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)

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
	@echo "Generating the scenes, then training, evaluating and drawing (about 5 minutes on two CPU cores)."
	$(PY) -m fsaf_core train tiny

check: $(READY)  ## while you work: ruff, the import contract, unit tests of method and model (a minute)
	$(PY) -m ruff check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-logo", "--no-cache"])'
	$(STEADY) FSAF_EXAMPLES=50 $(PY) -m pytest -q -o addopts= -p no:nbval -p no:cacheprovider $(UNIT_TESTS) $(PYTEST_ARGS)

test: $(READY)  ## ruff, the import contract, the tests and the notebooks, in one pytest run
	@echo "Testing: code style, import contract, tests, then every notebook against its stored outputs (several minutes)."
	$(STEADY) $(PY) -m pytest $(PYTEST_ARGS)

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
	@echo "Training the course's checkpoint again (about 10 minutes on two CPU cores)."
	$(PY) tests/notebooks/make_course_model.py
	$(STEADY) $(PY) tests/notebooks/make_faults.py

define SITE_CONF
import json
import pathlib
import re

from docutils import nodes
from latex2mathml.converter import convert

html_title = project = "FSAF, the course"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_show_sphinx = False
html_copy_source = False
html_static_path, html_css_files = ["_static"], ["course.css"]
nb_execution_mode = "off"  # the notebooks carry their outputs
nb_merge_streams = True  # what one cell prints is one block
nb_ipywidgets_js = {}  # no scripts from elsewhere: the stored outputs hold each widget's picture
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst.xref_missing"]
html_math_renderer = "mathml"  # which browsers show by themselves: MathJax would come from elsewhere

LIVE = '<iframe class="live" style="height: 880px" src="../_static/explorer.html" title="the assignment explorer"></iframe>'

def mathml(self, node):
    block = isinstance(node, nodes.math_block)
    tex = re.sub(r"\\ln(?= *[^( ])", r"\\ln\\,", node.astext().replace(r"\arg", r"\operatorname{arg}"))
    text = convert(tex, display="block" if block else "inline")
    if "\\" in text:
        raise ValueError(f"latex2mathml does not know all of {node.astext()!r}")
    self.body.append(f"<p>{text}</p>" if block else text)
    raise nodes.SkipNode

def cells(app, doctree):  # links to cells go on working: JupyterLab's fragment of a cell is the cell's id here
    path = pathlib.Path(app.env.doc2path(app.env.docname))
    notebook = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".ipynb" else {}
    for node in list(doctree.findall(nodes.container)):
        if node.get("nb_element") == "cell_code":
            name = notebook["cells"][node["cell_index"]]["id"]
            node["ids"].append("cell-id=" + name)
            if name in ("explorer-05", "regions-explorer"):  # alive here too, in place of its still
                output = next(part for part in node.children if part.get("nb_element") == "cell_code_output")
                output.children = [nodes.raw("", LIVE, format="html")]

def setup(app):
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("doctree-read", cells)
endef

define SITE_STYLE
.bd-main .bd-content .bd-article-container { max-width: 68rem }
.bd-article-container :is(p, ul, ol, details) { max-width: 46rem }
.bd-article-container pre { font-size: 80% }
.bd-article-container details { margin-bottom: 1.15rem }
.bd-header, .bd-sidebar-secondary .sidebar-secondary__inner > :empty { display: none }
.bd-article-container .cell { scroll-margin-top: 4rem }
iframe.live { width: 100%; height: 640px; border: 1px solid #ccc; border-radius: 4px }
math { font-family: "Cambria Math", "STIX Two Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math }
mtd[columnalign="left"] { text-align: left }
endef

define SITE_INDEX
# FSAF, the course

Feature Selective Anchor-Free detection (FSAF) lets the losses of a network decide which level of its feature pyramid learns an
object. These pages are the notebooks of the course with their outputs. Start with [00](notebooks/00_start_here.ipynb). To run them,
and to do the exercises, open them in JupyterLab with `make lab`.

Drag the star, or press *step through*:

<iframe class="live" src="_static/explorer.html" title="the assignment explorer"></iframe>

```{toctree}
:caption: Chapters
:glob:

notebooks/*
```
endef
export SITE_CONF SITE_INDEX SITE_STYLE

$(READY_SITE): $(READY)
	@echo "Installing Sphinx for the site (a minute)."
	@$(PY) -m pip install --disable-pip-version-check -q -e ".[site]"
	@touch $@

site: $(READY_SITE)  ## the notebooks as web pages, in site/index.html
	@echo "Rendering the notebooks with their stored outputs (under a minute)."
	@rm -rf build/site build/html site && mkdir -p build/site && cp -R notebooks build/site/
	@mkdir build/site/_static && printf '%s\n' "$$SITE_STYLE" > build/site/_static/course.css
	@printf '%s\n' "$$SITE_CONF" > build/site/conf.py
	@printf '%s\n' "$$SITE_INDEX" > build/site/index.md
	@$(PY) tests/notebooks/make_explorer_picture.py build/site/_static/explorer.html
	$(PY) -m sphinx -q -b html -d build/site/.doctrees build/site build/html && mv build/html site
	@echo "Open site/index.html."

package: $(READY)  ## source archive and wheel, checked, in dist/
	@echo "Building and checking the packages (a minute)."
	@$(PY) -m pip install --disable-pip-version-check -q -e ".[release]"
	@rm -rf dist
	$(PY) -m build
	$(PY) -m twine check --strict dist/*

clean:  ## remove all that these targets made, but not data/ and runs/
	rm -rf .venv build dist site .ruff_cache .mypy_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info .coverage
