# make demo: sixteen synthetic cells.  make test: everything installed and tested.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
EVERYTHING := trainer,exporter,evaluate,onnxruntime,rtx,distributed,dev
CPP_SOURCES = $(wildcard cpp_bench/src/*.h cpp_bench/src/*.cpp cpp_bench/tests/*.h cpp_bench/tests/*.cpp cpp_bench/tests/*/*)
# OpenVINO's wheel holds its headers and CMake package.
OPENVINO_CMAKE = $(shell $(BIN)/python -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')/cmake

.PHONY: demo test check gpu-check format bundle wheel cpp-bench bench clean

demo: .venv/engine
	$(BIN)/engine generate --class neutrophil --n 16

test: .venv/everything check
	$(BIN)/pytest --numprocesses auto --dist loadfile

# On a machine with an NVIDIA GPU: what only such a machine can test, then the speed of the runtimes and of training.
# BASE is a base to train on, such as v1-5-pruned-emaonly.safetensors.
gpu-check: .venv/everything
	$(BIN)/pytest -m gpu
	$(BIN)/engine doctor
	$(BIN)/engine bench --class cyt_mast --batch-size 1,8,16
	@test -z "$(BASE)" || $(BIN)/python -m benchmarks training --base $(BASE)

check: .venv/everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CPP_SOURCES)

format: .venv/everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_SOURCES)

# Trains the embedded bundle anew from folders of pictures; hours on two cores. See docs/embedded-bundle.md.
bundle: .venv/everything
	@test -n "$(PICTURES)" || { echo "name the folder of pictures: make bundle PICTURES=..."; exit 2; }
	PYTHON=$(BIN)/python recipes/cells.sh $(PICTURES) build/cells

wheel: .venv/everything
	$(BIN)/python -m build --wheel

# The benchmark in C++, and what it compares itself with for every class of the embedded bundle. TENSORRT_ROOT names the
# folder of TensorRT or of TensorRT for RTX, CUDA_ROOT that of the CUDA runtime where it is in no usual place.
cpp-bench: .venv/engine
	@command -v cmake > /dev/null || { echo "cmake was not found: apt install cmake g++"; exit 2; }
	@cmake -S cpp_bench -B cpp_bench/build --log-level=NOTICE -DBUILD_TESTING=OFF -DOpenVINO_DIR=$(OPENVINO_CMAKE) \
	    $(if $(TENSORRT_ROOT),-DTENSORRT_ROOT=$(TENSORRT_ROOT)) $(if $(CUDA_ROOT),-DCUDA_ROOT=$(CUDA_ROOT))
	MAKEFLAGS=--no-print-directory cmake --build cpp_bench/build
	$(BIN)/engine reference

# Compares the engine with its peers on this machine and writes docs/benchmarks.md; benchmarks/bench.sh says what
# the variables MERGED, BUNDLE, FULL_SIZE, ... are. The machine should do nothing else, for more than an hour on two cores.
bench: .venv/everything
	@if command -v cmake > /dev/null; then $(MAKE) cpp-bench; else echo "cyto_bench will be named as not measured."; fi
	PYTHON=$(BIN)/python benchmarks/bench.sh

clean:
	rm -rf .venv build dist out cpp_bench/build

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
