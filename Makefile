# Each target sets up .venv by itself when it is missing or when pyproject.toml changed.
PYTHON ?= python3
PROFILE ?= demo
BIN := .venv/bin

.PHONY: help setup book test lab bench lint clean
help:
	@echo "make book   run every chapter of the demo profile and build the HTML (PROFILE=name for another)"
	@echo "make test   the whole test suite"
	@echo "make lab    JupyterLab on the chapters"
	@echo "make bench  every method side by side, time and memory; wants an idle machine"
	@echo "make lint   ruff and mypy"

setup: .venv/.ready

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed; {sys.executable} is {v.major}.{v.minor}. Call: make PYTHON=/path/to/python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -e '.[book,test,cluster]'
	@touch $@

book: setup
	$(BIN)/dpcxr book --profile $(PROFILE)

# Two processes, each with whole files: most tests use one core. In order: sorted by their number of tests, the files of
# few and long tests would come last, and one process would wait for the other.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The chapters are text: this makes JupyterLab open them as notebooks, in this environment only.
LAB_DEFAULTS := {"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"python": "Jupytext Notebook"}}}
lab: setup
	@mkdir -p .venv/etc/jupyter/labconfig
	@echo '$(LAB_DEFAULTS)' > .venv/etc/jupyter/labconfig/default_setting_overrides.json
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/book

bench: setup
	$(BIN)/python -m benchmarks

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf _build runs
