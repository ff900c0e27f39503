# Everything works from Python (3.11 or newer) and make; the rest goes into .venv, and peers that
# need other versions of the same libraries into .venv-NAME.

# The first of these that is 3.11 or newer makes .venv; PYTHON=... names the one to take.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
JOBS ?= 2
BIN := .venv/bin
READY := .venv/.ready
PEERS := $(basename $(notdir $(wildcard benchmarks/peers/*.txt)))
ON_A_DATASET := ablation cold find larp skips skip_rule
BY_HAND := install_size cold_start
BENCHMARKS := $(filter-out _% data $(BY_HAND) $(ON_A_DATASET),$(basename $(notdir $(wildcard benchmarks/*.py))))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-lowest test-newest test-extras test-install docs notebooks wheel lock bench peers check results ablation skips larp clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf 'make %-12s %s\n' "$$name" "$$what"; done

setup: $(READY) ## make .venv with everything for development, at the locked versions

# An environment whose versions scripts/install.py chooses: $(call environment,FOLDER,VERSIONS,PYTHONS)
define environment
@for python in $(3); do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
	echo "no Python 3.11 or newer (tried: $(3)); name one: make $(MAKECMDGOALS) PYTHON=/path/to/python"; \
	exit 1; fi; \
echo "setting up $(1) with $$("$$found" --version), $$(command -v "$$found") (a few minutes the first time)"; \
[ -x $(1)/bin/python ] || "$$found" -m venv $(1)
@$(1)/bin/python scripts/install.py $(2)
@touch $(1)/.ready
endef

$(READY): pyproject.toml requirements/dev.txt requirements/torch.txt
	$(call environment,.venv,locked,$(PYTHONS))

.venv-lowest/.ready: pyproject.toml requirements/lowest.txt requirements/lowest-torch.txt
	$(call environment,.venv-lowest,lowest,python3.11 $(PYTHONS))

demo: $(READY) ## train, evaluate and ask recommenders on a simulated world, in ./demo; ends with the page
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo.sh

test: $(READY) ## run the tests
	@$(BIN)/python -m pytest -n $(JOBS)

test-lowest: .venv-lowest/.ready ## run the tests with the lowest versions that pyproject.toml allows
	@.venv-lowest/bin/python -m pytest -n $(JOBS)

test-newest: ## run the tests with the newest versions that there are today
	$(call environment,.venv-newest,newest,$(PYTHONS))
	@.venv-newest/bin/python -m pytest -n $(JOBS)

test-extras: ## install what tests need beyond Python: a browser, PostgreSQL
	@sh scripts/test_extras.sh

test-install: $(READY) ## build the wheel, install it into empty environments and use it there
	@$(BIN)/python -m pytest -m slow_install

docs: $(READY) ## build the site of the documentation, in build/docs; a warning is an error
	@$(BIN)/sphinx-build -W --keep-going -n -q -d build/doctrees -b html docs build/docs
	@echo "build/docs/index.html"

notebooks: $(READY) ## run the notebooks of the documentation and keep their outputs
	@$(BIN)/python scripts/notebooks.py

wheel: $(READY) ## build the wheel and the source distribution, in dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation .

lock: $(READY) ## resolve the locked versions again; make lock UPGRADE=yes takes the newest
	@PATH="$(CURDIR)/$(BIN):$$PATH" python scripts/lock.py $(if $(UPGRADE),--upgrade)

bench: $(READY) ## measure against peers: speed at equal quality
	@for name in $(BENCHMARKS); do \
		echo "== python -m benchmarks.$$name"; \
		$(BIN)/python -m benchmarks.$$name || exit 1; \
	done

peers: $(READY) $(PEERS:%=.venv-%/.ready) ## make .venv-rectools and .venv-recbole, peers of the benchmark of sessions

.venv-%/.ready: benchmarks/peers/%.txt | $(READY)
	@echo "setting up .venv-$*"
	@[ -x .venv-$*/bin/python ] || $(BIN)/python -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

check: $(READY) ## formatting, lint, types
	@$(BIN)/ruff format --check --quiet . || { echo "ruff format . would change files"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

results: $(READY) ## figures on real playlists: make results MPD=folder of Million Playlist slices
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh results.sh "$(MPD)"

ablation: $(READY) ## what each part of two-stage brings: make ablation DATASET=folder
	@$(BIN)/python -m benchmarks.ablation "$(DATASET)"

skips: $(READY) ## whether skips help, every model with and without: make skips DATASET=folder
	@$(BIN)/python -m benchmarks.skips "$(DATASET)" --out results/skips

larp: $(READY) ## what sound, captions and each stage of larp bring: make larp DATASET=folder
	@$(BIN)/python -m benchmarks.larp "$(DATASET)" --out results/larp

clean: ## remove .venv, demo, results and caches
	@rm -rf .venv .venv-* demo results build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
