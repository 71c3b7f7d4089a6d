# Two commands do all the set-up there is: `make run` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first of the simulated seeds. One run is the same as the next; `make test SEED=$$RANDOM` tries others, and `make torture`
# always does.
SEED ?= 105370989
MINUTES ?= 60

.PHONY: run test torture mutants bench check format setup clean

# A three-member cluster on 127.0.0.1:4711-4713, data in ./coord-run; Ctrl-C stops it.
run: setup
	@exec $(BIN)/coord dev

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not processes'
	$(BIN)/python -m pytest -n 2 --dist worksteal -m processes
	$(BIN)/python -m coord.jepsen_like scope --jobs 2
	$(BIN)/python -m coord.jepsen_like sim --seeds 20 --from $(SEED) --jobs 2

# Simulation and real clusters for MINUTES in all; totals are added up in ./torture.
torture: setup
	$(BIN)/python -m coord.jepsen_like sim --minutes $$(($(MINUTES) * 2 / 3)) --from $$(date +%s) --jobs 2 --totals torture/sim.json
	$(BIN)/python -m coord.jepsen_like live --minutes $$(($(MINUTES) / 3)) --out torture/live

# Every seeded bug must be found: some minutes for each that is hard, seconds for most.
mutants: setup
	$(BIN)/python -m coord.jepsen_like mutants

# coord beside ZooKeeper and etcd, on this machine: docs/PERFORMANCE.md. ARGS="--rounds 1 --quick" does less; see bench/README.md.
bench: setup
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@cd bench && ../$(BIN)/python -m race $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "coord needs Python 3.11: no '$(PYTHON)' on the PATH (make PYTHON=... to say another)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "coord needs Python 3.11 or newer; $(PYTHON) is older (make PYTHON=... to say another)"; exit 1; }
	@echo "setting up $(VENV) (once; a minute or so)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
