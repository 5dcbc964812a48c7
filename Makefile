# Two commands: `make repro` builds everything from media to report, `make test` checks the code.
PYTHON ?= python3
BIN := .venv/bin
# uv installs several times faster than pip: it is used if it is there, unless `make UV= …` says otherwise.
UV ?= $(shell command -v uv)
PIP = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check)
# The index of packages that torch comes from, if not the usual one, whose torch brings 4 GB of CUDA libraries on Linux.
TORCH_INDEX ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro experiments test test-fast coverage check docs bench hostile clean dvc-scm

repro: .venv/installed dvc-scm
	dvc repro
	@fdan info

# UAR and changed parameters in 120 columns, without the files and folders that stages depend on; `dvc exp show` has all columns.
experiments: .venv/installed
	@dvc exp show --only-changed --no-pager --drop '.*/[^:]*$$|plugins$$|Created|State|Executor|.*_(low|high|uar)$$|.*\.war$$'

# Two files at a time, in the order that tests/conftest.py gives them. With more than a thread each, they wait for one another.
PYTEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed
	$(PYTEST)

# No test that starts a process or builds a network.
test-fast: .venv/installed
	$(PYTEST) --fast

# All tests, with the lines and branches of the library that they run.
coverage: .venv/installed
	$(PYTEST) --cov --cov-report term:skip-covered

check: .venv/installed
	ruff check
	ruff format --check
	mypy
	lint-imports
	python -m docs.generate --check
	$(MAKE) --no-print-directory docs

# The documentation, as a web site in build/site.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

bench: .venv/installed
	python -m benchmarks
	python -m docs.generate

# Hostile media, kills, damaged files and fuzzing, for about 11 minutes; writes docs/reliability.md.
hostile: .venv/installed
	@python -c 'import atheris' 2>/dev/null || $(PIP) --constraint constraints.txt --editable '.[hostile]' \
	|| echo "Atheris cannot be installed: fuzzing is not guided by coverage"
	PYTHONPATH=tests python -m hostile

# The stamp is newer than what it was made from: a second `make` installs nothing.
.venv/installed: Makefile setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fdan needs Python 3.11 or newer; name one: make PYTHON=python3.12 repro")'
	@$(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
	$(if $(TORCH_INDEX),$(PIP) --no-deps --constraint constraints.txt --index-url '$(TORCH_INDEX)' torch torchvision)
	$(PIP) --constraint constraints.txt --editable '.[dev,openvino]'
# DVC runs stages with the `python` of PATH: let that be this environment's, whether it is activated or not (-P: no module of the current folder is taken for one of DVC's).
	@printf '#!/bin/sh\nPATH="%s:$$PATH" exec "%s/python" -P -m dvc "$$@"\n' '$(CURDIR)/$(BIN)' '$(CURDIR)/$(BIN)' > $(BIN)/dvc
	@$(BIN)/python -c 'import cv2' || { echo "error: OpenCV cannot be loaded; on Debian: apt install libgl1 libglib2.0-0"; exit 1; }
	@touch $@

# A copy from a ZIP file has no git history; DVC builds there only with `core.no_scm`.
dvc-scm:
	@if [ ! -e .git ]; then dvc config --local core.no_scm true; \
	elif grep -qs no_scm .dvc/config.local; then dvc config --local --unset core.no_scm; fi

clean:
	rm -rf .venv build data models results .mypy_cache .pytest_cache .ruff_cache
