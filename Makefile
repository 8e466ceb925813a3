# Two commands for a newcomer: `make bench` and `make test`. Each creates .venv first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUT ?= runs/quick
LIBRARIES := minari rllib tianshou torchrl

# Some machines set it: without compiled modules, each process takes seconds longer to import torch.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help bench test examples floors page docs coverage lint types check lock clean

help:
	@echo "make bench      run the quick benchmark into $(OUT) (about 17 minutes of CPU time)"
	@echo "make test       run the tests"
	@echo "make examples   run the examples of all libraries, each in an environment of its own if need be; STEPS=1000 for short runs"
	@echo "make floors     test the envs with the oldest allowed versions of dependencies (a few minutes)"
	@echo "make page       test the page of the recommendation server in a browser (needs Chromium and npm)"
	@echo "make docs       build the documentation into site/"
	@echo "make coverage   run the tests with branch coverage; HTML in htmlcov/"
	@echo "make lint       ruff and the import contracts;  make types: mypy"
	@echo "make check      test, lint, types and docs, as .ci/run does"
	@echo "make lock       write requirements.lock from constraints.txt (needs uv)"
	@echo "make clean      remove .venv and everything that was built"

# Every package with its hash first; then torch, which has a build for each accelerator, and the project itself. Modules
# are compiled when they are first imported, which most of them never are.
$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
		--no-deps --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --no-build-isolation --constraint constraints.txt \
		--editable '.[test,docs]'
	@touch $@

bench: $(VENV)/installed
	$(RUN) -m benchmarks run --suite quick --no-reuse --out $(OUT)

test: $(VENV)/installed
	$(RUN) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Libraries that do not install beside the pins have an environment each.
.venvs/%/installed: examples/requirements-%.txt pyproject.toml
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $< --editable .
	@touch $@

examples: export OMP_NUM_THREADS ?= 1
examples: $(VENV)/installed $(LIBRARIES:%=.venvs/%/installed)
	for name in stable_baselines3_ppo sb3_contrib_maskable_ppo cleanrl_ppo; do \
		echo "$$name"; $(RUN) examples/$$name.py $(if $(STEPS),--steps $(STEPS)) || exit 1; done
	for name in torchrl_ppo tianshou_ppo rllib_ppo minari_dataset; do \
		echo "$$name"; .venvs/$${name%%_*}/bin/python examples/$$name.py $(if $(STEPS),--steps $(STEPS)) || exit 1; done

# Some wrappers of old Gymnasium have faults of their own.
floors: floors.txt pyproject.toml
	$(PYTHON) -m venv .venvs/floors
	.venvs/floors/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint floors.txt \
		--editable '.[logs,render,sb3,contrib]' $(shell grep '^torch==' constraints.txt) hypothesis pytest
	.venvs/floors/bin/python -m pytest -k "not wrapper" tests/recsim_env/envs/test_gymnasium_contract.py \
		tests/recsim_env/envs/test_gymnasium_conventions.py tests/recsim_env/sb3/test_sb3_vec_env.py \
		tests/recsim_env/logs/simulated/test_log_writer.py tests/recsim_env/logs/simulated/test_replay.py

# The server needs no torch, and the browser is that of the system.
.venvs/page/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venvs/page
	.venvs/page/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt \
		--editable '.[serve]' httpx2 playwright==1.65.2 pytest
	@touch $@

.venvs/page/node_modules/axe-core/axe.min.js:
	@command -v npm > /dev/null || { echo "make page: needs npm, to install axe-core"; exit 1; }
	npm install --silent --no-save --prefix .venvs/page axe-core@4.14.1

page: .venvs/page/installed .venvs/page/node_modules/axe-core/axe.min.js
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "make page: needs Chromium in PATH, as chromium, chromium-browser or google-chrome"; exit 1; }
	RECSIM_AXE=.venvs/page/node_modules/axe-core/axe.min.js .venvs/page/bin/python -m pytest \
		tests/agents/large_model/serving/test_page.py

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

coverage: $(VENV)/installed
	$(RUN) -m pytest --numprocesses auto --dist loadfile --cov --cov-report term --cov-report html

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PYTHONPATH=. $(VENV)/bin/lint-imports

types: $(VENV)/installed
	$(VENV)/bin/mypy

check: test lint types docs

lock:
	grep -v '^torch==' constraints.txt | uv pip compile --quiet --no-deps --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock -

clean:
	rm -rf $(VENV) .venvs build dist site htmlcov .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
