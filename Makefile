# `make run` and `make test` do all the set-up that they need; see the README for other ways to install.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TEMP ?= 500
# Matrices are small here: a second thread costs more than it saves.
export OMP_NUM_THREADS ?= 1

.PHONY: help run quick test lowest mutants wheel format benchmarks clean

# Nothing slow, no program of quantum chemistry, no data of others.
QUICK := not (slow or psi4 or pyscf or qe or deepmd or shared_data)
# What a change of the core breaks first, in a minute of the processor.
CORE := tests/controllers tests/contracts tests/uncertainty tests/reports tests/surrogates/gradient_gp tests/targets/test_contract.py \
  tests/test_arguments.py tests/test_calculator.py tests/test_costs.py tests/test_cost_model.py tests/test_decorator.py tests/test_executor.py \
  tests/test_layers.py tests/test_metrics.py tests/test_periodic.py tests/test_reach.py tests/gpu_xarch/tables tests/gpu_xarch/profiles \
  tests/gpu_xarch/test_units.py tests/gpu_xarch/learning/test_scores.py tests/gpu_xarch/learning/test_splits.py
LOWEST ?= build/lowest

help: ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s ':'

run: $(VENV)/.installed ## Install what is needed and sample methane: proxima-mc --temp 500
	@scripts/install-psi4
	@target=$$($(BIN)/python -c "from ase_proxima.targets import best_quantum_target as t; print(t())" 2>/dev/null) \
	  || { echo "no Psi4 here: installing PySCF"; $(BIN)/python -m pip install -q '.[pyscf]'; target='pyscf:HF/6-31G*'; }; \
	echo "target: $$target"; \
	$(BIN)/proxima-mc --temp $(TEMP) --target "$$target" --plot

test: $(VENV)/.installed-test ## Install the test extras and run linters, type checker and every test
	@scripts/install-psi4
	@scripts/install-qe
	@scripts/install-postgresql
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

quick: $(VENV)/.installed-test ## The tests of the core, less than a minute together, without linters
	$(BIN)/python -m pytest -q -m "$(QUICK) and not xtb" $(CORE)

lowest: ## The quick tests on the lower bounds of the dependencies, in an environment of their own
	@scripts/make-venv $(PYTHON) $(LOWEST)
	$(LOWEST)/bin/python -m pip install -q -c constraints-lowest.txt -e . pytest hypothesis
	$(LOWEST)/bin/python -m pytest -q -m "$(QUICK) and not xtb" tests

mutants: $(VENV)/.installed-test ## Mutation testing of the pure core (hours, one core); what survives is printed
	$(BIN)/python -m pip install -q 'cosmic-ray>=8.3'
	$(BIN)/python scripts/mutants.py

wheel: ## Build wheel and sdist, and try the wheel in a bare environment
	@scripts/check-wheel $(PYTHON)

format: $(VENV)/.installed-test ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/.installed-test ## Run every benchmark (hours); results go to benchmarks/results
	@scripts/install-psi4
	@scripts/install-qe
	@scripts/install-postgresql
	$(BIN)/python -m pip install -q -e '.[test,nas]'
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(BIN)/python:
	@scripts/make-venv $(PYTHON) $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[test]'
	@$(BIN)/python -m pip install -q -e '.[asap,deepmd]' || $(BIN)/python -m pip install -q -e '.[deepmd]' \
	  || echo "no DeePMD-kit here: the tests that train its models are skipped"
	@touch $@ $(VENV)/.installed
