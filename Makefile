# Two commands do all the set-up there is: `make run` and `make test`.

# The distribution's interpreter, where there is one that can make a venv. It is built with optimizations, as those of python.org and
# uv are, and pyenv's are not unless it is told: coord is 10 to 20 % quicker with them. `make PYTHON=python3.12 …` says another.
PYTHON ?= $(shell /usr/bin/python3.11 -c 'import ensurepip' 2>/dev/null && echo /usr/bin/python3.11 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Some images say that nothing is to be kept of what Python compiles. Here hundreds of short processes are started, and each would
# compile all of coord again: a third more time for each.
unexport PYTHONDONTWRITEBYTECODE

# The first of the simulated seeds: the same from run to run, so that what fails is the change's doing. It is drawn anew now and then;
# `make test SEED=$$RANDOM` tries others, and `make torture` always does.
SEED ?= 179529800
MINUTES ?= 60
# Processes of pytest.
TEST_WORKERS ?= 2

.PHONY: run test test-processes test-simulated torture mutants bench check format setup clean

# A three-member cluster on 127.0.0.1:4711-4713, data in ./coord-run; Ctrl-C stops it.
run: setup
	@exec $(BIN)/coord dev

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -m 'not processes'
	@$(MAKE) --no-print-directory --jobs 2 test-processes test-simulated
	$(BIN)/python -m coord.jepsen_like mutants --sample 12 --quick --seed 1 --minutes-each 1 --jobs 2

# Real processes: these tests wait for half of their time, for members that start and sessions that end. (To collect all
# five thousand tests in each process for these three hundred would take half a minute of processor.)
test-processes: setup
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -m processes $$(grep -rl --include='test_*.py' 'mark\.processes' tests)

# What only computes, in that time: it is nice, so that no test waits for it, and nothing in it goes by the clock. On a
# machine that is slow today there are fewer seeds, and the totals say how many.
test-simulated: setup
	nice -n 19 $(BIN)/python -m coord.jepsen_like scope --jobs 2
	nice -n 19 $(BIN)/python -m coord.jepsen_like sim --seeds 50 --minutes 1.5 --from $(SEED) --jobs 2
	nice -n 19 $(BIN)/python -m coord.jepsen_like sim --seeds 100 --minutes 1.5 --from $$(($(SEED) + 50)) --set safety_ms=4000 --jobs 2

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
