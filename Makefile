# Two commands do all set-up on a fresh machine with Python 3.10 or later and make:
#
#   make serve    run the service on the processor, with the shipped INT8 model; prints the URL
#   make test     run linters, type checks, import rules and the whole test suite
#
# Variables:
#   PYTHON=python3.12          interpreter for the environment
#   VENV=/somewhere            folder of the environment
#   TORCH=torch==2.13.0        torch to install for `make test`. If the package index's default build is for CUDA, use a
#                              CPU build (TORCH=torch==2.13.0+cpu) and its index in PIP_ARGS.
#   PIP_ARGS="--index-url URL" arguments for every pip install; pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS) work too
#   PORT=8000                  port of `make serve`
#   PREFIX=/opt/adsn           target of `make install`, as root on Debian

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP_ARGS ?=
PORT ?= 8000
PREFIX ?= /opt/adsn

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.PHONY: help serve test check lint types imports unit test-v4l2 test-systemd test-gpu test-container test-ray export train bench bench-gpu \
  docs docs-made docs-picture coverage release-check release-rehearsal install lock audit sbom clean
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is required; pass one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Marker files, so that nothing is installed again while pyproject.toml is unchanged.
$(VENV)/.serve: pyproject.toml | $(BIN)/python
	@echo "installing the packages for serving into $(VENV)"
	@$(PIP) -e '.[cpu]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing the packages for development into $(VENV)"
	@$(PIP) '$(TORCH)'
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.serve

serve: $(VENV)/.serve
	@$(BIN)/adsn-serve --port $(PORT) --rig synthetic

test: check unit

check: lint types imports

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy deploy/release_check.py examples/ray/load.py
	$(BIN)/mypy examples/backend/app.py

imports: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/python -m pytest

# On a machine with a CUDA GPU; docs/tensorrt.md lists the requirements.
test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu tests/gpu

# As root, with debootstrap: the image's RUN lines in a clean Debian root.
test-container: $(VENV)/.dev
	$(BIN)/python -m pytest -m container tests/container -s

# A Ray cluster of two nodes on loopback, in a separate environment, because Ray installs many packages.
test-ray:
	@test -x $(VENV)-ray/bin/python || $(PYTHON) -m venv $(VENV)-ray
	@$(VENV)-ray/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[cpu,ray,sign]' pytest pytest-timeout httpx PyYAML
	$(VENV)-ray/bin/python -m pytest -m ray tests/deploy/test_ray.py -s

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gpu

# The camera reader with a real kernel and simulated cameras, in an emulated machine; takes about a minute. It needs
# apt-get install qemu-system-x86 busybox-static, and downloads Debian's kernel (70 MB) once.
test-v4l2: $(VENV)/.dev
	$(BIN)/python -m pytest -m v4l2_vm tests/v4l2_vm

# As root, with debootstrap and QEMU: the units under a running systemd, in an emulated machine.
test-systemd: $(VENV)/.dev
	$(BIN)/python -m pytest -m systemd_vm tests/systemd_vm

# The commands that made the shipped weights and bundle.
train: $(VENV)/.dev
	$(BIN)/adsn-train adsn/recipes/rgb-ir.toml --out runs/rgb-ir

export: $(VENV)/.dev
	$(BIN)/adsn-export runs/rgb-ir/checkpoint.safetensors --int8 --max-flips 0.005 --max-rate-change 0.0125 \
	  --out models/adsn-rgb-ir

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# `docs` builds the site into site/; `docs-made` makes the generated parts of docs/ again.
$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@$(PIP) -e '.[cpu,docs]'
	@touch $@

docs: $(VENV)/.docs
	@$(BIN)/python -m docs.make.site
	@echo "site/index.html"

docs-made: $(VENV)/.dev
	@for page in commands rates architecture answer; do $(BIN)/python -m docs.make.$$page || exit 1; done

# The console's result card for README.md. Run it when the weights or the console change; needs chromium, chromium-driver.
docs-picture: $(VENV)/.dev
	@$(BIN)/python -m docs.make.console

# Line coverage of the default tests, including subprocesses; fails below the limit in pyproject.toml.
coverage: $(VENV)/.dev
	@mkdir -p build
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

# Checks before a release; the rehearsal needs no tag and no date in the changelog.
release-check release-rehearsal: $(BIN)/python
	@$(PIP) build
	@$(BIN)/python deploy/release_check.py $(if $(findstring rehearsal,$@),--rehearse)

# As root on Debian; see deploy/install.sh.
install:
	sh deploy/install.sh --prefix $(PREFIX)

# Supply chain. Each target installs its own tool first.
lock: $(BIN)/python
	@$(PIP) uv
	@for set in serve kiosk; do \
	  extras="--extra cpu --extra redis --extra sign"; [ $$set = kiosk ] && extras="$$extras --extra kiosk"; \
	  echo "requirements/$$set.txt"; \
	  $(BIN)/uv pip compile pyproject.toml $$extras --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/$$set.txt || exit 1; \
	done
	@echo "requirements/opencv-build.txt"
	@printf '%s\n' numpy packaging scikit-build 'setuptools<70' wheel | $(BIN)/uv pip compile - --universal \
	  --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade \
	  -o requirements/opencv-build.txt

audit: $(BIN)/python
	@$(PIP) pip-audit
	@for set in serve kiosk opencv-build; do $(BIN)/pip-audit -r requirements/$$set.txt --disable-pip --strict || exit 1; done

sbom: $(VENV)/.serve
	@$(PIP) cyclonedx-bom
	@$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o sbom.json
	@echo "sbom.json"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
