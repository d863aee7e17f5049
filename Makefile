# make demo: sixteen synthetic cells.  make test: everything installed and tested.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
EVERYTHING := trainer,exporter,evaluate,onnxruntime,rtx,dev

.PHONY: demo test check gpu-check format bundle wheel clean

demo: .venv/engine
	$(BIN)/engine generate --class cyt_mast --n 16

test: .venv/everything check
	$(BIN)/pytest

# On a machine with an NVIDIA GPU: what only such a machine can test, then the speed of the runtimes and of training.
# BASE is a base to train on, such as v1-5-pruned-emaonly.safetensors.
gpu-check: .venv/everything
	$(BIN)/pytest -m gpu
	$(BIN)/engine doctor
	$(BIN)/engine bench --class cyt_mast --batch-size 1,8,16
	@test -z "$(BASE)" || $(BIN)/python -m trainer bench --base $(BASE)

check: .venv/everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Trains the embedded bundle anew from folders of pictures; hours on two cores. See docs/embedded-bundle.md.
bundle: .venv/everything
	@test -n "$(PICTURES)" || { echo "name the folder of pictures: make bundle PICTURES=..."; exit 2; }
	PYTHON=$(BIN)/python trainer/recipes/cells.sh $(PICTURES) build/cells

wheel: .venv/everything
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist out

.venv/python:
	$(PYTHON) -c 'import sys; v = sys.version_info; assert (3, 11) <= v < (3, 14), f"Python 3.11 to 3.13 is needed, this is {sys.version}; name one with make PYTHON=..."'
	$(PYTHON) -m venv .venv
	touch $@

.venv/engine: .venv/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/everything: .venv/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[$(EVERYTHING)]'
	touch $@ .venv/engine
