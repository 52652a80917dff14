# Two commands for a newcomer: `make repro` runs the whole pipeline, `make test` the tests. Each does all its set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
export RAY_USAGE_STATS_ENABLED := 0
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: ablations help install system system-test assets assets-test data repro test e2e chaos lint lint-params format docs bench clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

install: $(VENV)/.installed ## make the virtual environment with the exact versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v git >/dev/null || { echo "git is missing: apt-get install git"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), but 3.11 is needed: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev,insightface]'
	$(BIN)/python -m pip install --quiet --no-deps "$$(grep '^insightface==' constraints.txt)"  # its opencv-python would be a second cv2
	@touch $@

# Shared libraries that wheels load from the system, with their Debian packages: MediaPipe's, and off-screen rendering's in the tests.
MEDIAPIPE_LIBRARIES := libGL.so.1=libgl1 libEGL.so.1=libegl1 libGLESv2.so.2=libgles2 libgthread-2.0.so.0=libglib2.0-0
RENDER_LIBRARIES := libXrender.so.1=libxrender1

# $(call libraries,LIST): install what is missing of LIST (Debian, as root), or name it and stop.
define libraries
	missing=$$(for pair in $(1); do $(PYTHON) -c "import ctypes; ctypes.CDLL('$${pair%%=*}')" 2>/dev/null || echo "$${pair##*=}"; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; \
		else \
			echo "system libraries are missing; as root: apt-get install" $$missing; \
			echo "(the pipeline alone runs without them where params.yaml says crop.mesh: none)"; \
			exit 1; \
		fi; \
	fi
endef

system: ## the shared libraries that MediaPipe wants: installed on Debian as root, named elsewhere
	@if grep -q '^  mesh: mediapipe' params.yaml; then $(call libraries,$(MEDIAPIPE_LIBRARIES)); fi

system-test:
	@$(call libraries,$(MEDIAPIPE_LIBRARIES) $(RENDER_LIBRARIES))
	@# The browser of the page's test, which is skipped without it.
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; } \
			|| echo "Chromium could not be installed: the pages' tests in a browser are skipped"; \
	fi

assets: install data ## fetch the third-party weights that params.yaml needs into the store that all checkouts share; what is missing is told
	@$(BIN)/dimitra assets fetch || true
	$(BIN)/dimitra doctor

assets-test: install
	$(BIN)/dimitra assets fetch --profile sample

data: install ## check the sample corpus out of the DVC remote inside the repository
	$(BIN)/dvc pull --quiet datasets.dvc

repro: system assets data ## raw video to trained models, videos, both tables and the report; compare with the committed metrics
	$(BIN)/python -m pipelines.params
	$(BIN)/dvc repro
	$(BIN)/python -m pipelines.tolerance
	$(BIN)/dimitra dataset version
	@echo "report: $(abspath report/index.html)"

test: system-test assets-test data ## all quick tests
	$(BIN)/python -m pytest -m "not e2e and not gpu and not chaos"

ablations: system assets data ## one DVC experiment for each variant of the models, after `make repro` and a commit; kept in metrics/ablations.json
	$(BIN)/dimitra ablations run

e2e: system assets data ## the whole pipeline on a cut of the sample, in a clone, with broken clips among them
	$(BIN)/python -m pytest -m e2e

chaos: system assets data ## kill workers, nodes and drivers of crop and speech at random, resume, compare with a quiet run
	$(BIN)/python -m pytest -m chaos

lint: install ## formatting, lint, types, and that dvc.yaml names what each stage imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pipelines.closure --check
	@$(MAKE) --no-print-directory lint-params

lint-params: # params.yaml is the copy of a profile
	@for profile in conf/*.yaml; do if cmp -s params.yaml $$profile; then exit 0; fi; done; \
	echo "params.yaml is no copy of a profile in conf/: dimitra params diff sample; save it as conf/NAME.yaml, or: dimitra params use sample"; exit 1

format: install ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install ## build the pages of docs/ into site/; a dead link or a page that nothing leads to fails
	$(BIN)/python -m sphinx --fail-on-warning --quiet --builder html docs site
	@echo "pages: $(abspath site/index.html)"

bench: system-test install ## measure speed; ratios against a floor in the same run
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean: ## remove what the pipeline made; keeps the environment, the assets, the work cache and MLflow's records
	rm -rf data models renderers evaluators report site
