# make demo: sixteen synthetic cells.  make install: everything installed.  make test: every check and test.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
EVERYTHING := trainer,exporter,evaluate,onnxruntime,rtx,distributed,serve,docs,dev
CPP_SOURCES = $(wildcard cpp_bench/src/*.h cpp_bench/src/*.cpp cpp_bench/tests/*.h cpp_bench/tests/*.cpp cpp_bench/tests/*/*)
# OpenVINO's wheel holds its headers and CMake package.
OPENVINO_CMAKE = $(shell $(BIN)/python -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')/cmake

.PHONY: demo install test test-all soak check gpu-check gpu-tests format docs reports bundle wheel cpp-bench bench clean

demo: .venv/engine
	$(BIN)/engine generate --class neutrophil --n 16 --preset turbo

# Installs the engine, the trainer, the exporter, the evaluation and the development tools.
install: .venv/everything

# Checks the sources and runs the tests, except those that take longest. A file of tests stays on one worker, because
# its tests share what its fixtures build; tests/conftest.py starts the longest files first.
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
test: install check
	$(PYTEST)

# Runs the tests that take longest, too, and so every test except those of `make soak`.
test-all: install check
	$(PYTEST) -m "not soak"

# Runs what `make test-all` leaves out: runs that are killed many times, and tests at full size.
soak: install
	$(PYTEST) -m soak

# Compares the speed of the runtimes at the shapes of Stable Diffusion 1.5 on an NVIDIA GPU, and writes GPU_RECORD. It
# takes at most 12 minutes after the installation. Without NVIDIA's driver it installs the engine only, and says what it
# would measure.
GPU_RECORD := docs/benchmarks/gpu.json
gpu-check: $(if $(shell command -v nvidia-smi),.venv/cuda,.venv/engine)
	$(BIN)/engine doctor
	$(BIN)/python -m benchmarks.scripts.gpu_check $(GPU_RECORD)

# Tests what only a machine with an NVIDIA GPU can test, then measures the embedded bundle and training. BASE is a base
# to train on, such as v1-5-pruned-emaonly.safetensors.
gpu-tests: .venv/cuda
	$(BIN)/pytest -m gpu
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

# Builds the documentation as a site in build/site, without network. A broken link is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html, or for the search: $(BIN)/python -m http.server --directory build/site"

# Writes build/reports/sheets: 64 synthetic cells per class of the embedded bundle, in about 10 minutes on two cores.
# PICTURES names the photographs (pretrain/, fewshot/, heldout/, judge/) and RECIPE what `make bundle` left. With both,
# the three HTML reports are written too, which takes many hours: cells/blood_cells.html, few_shot/few_shot.html and
# curve/curve.html.
REPORTS := $(CURDIR)/build/reports
reports: install
	PYTHON=$(CURDIR)/$(BIN)/python recipes/evaluation/sheets.sh $(REPORTS)
ifneq ($(and $(PICTURES),$(RECIPE)),)
	mkdir -p $(REPORTS)/cells $(REPORTS)/few_shot $(REPORTS)/curve
	cd $(REPORTS)/cells && PYTHON=$(CURDIR)/$(BIN)/python \
	    $(CURDIR)/recipes/evaluation/cells.sh $(abspath $(PICTURES)) $(abspath $(RECIPE))
	cd $(REPORTS)/few_shot && PYTHON=$(CURDIR)/$(BIN)/python \
	    $(CURDIR)/recipes/evaluation/few_shot.sh $(abspath $(PICTURES)) $(abspath $(RECIPE))
	cd $(REPORTS)/curve && PYTHON=$(CURDIR)/$(BIN)/python $(CURDIR)/recipes/evaluation/curve.sh $(abspath $(RECIPE))
else
	@echo "No HTML report: make reports PICTURES=... RECIPE=... writes them."
endif

# Make the embedded bundle from folders of pictures. Takes hours on two cores. See docs/notes/embedded-bundle.md.
bundle: .venv/everything
	@test -n "$(PICTURES)" || { echo "name the folder of pictures: make bundle PICTURES=..."; exit 2; }
	PYTHON=$(BIN)/python recipes/cells.sh $(PICTURES) build/cells

wheel: .venv/everything
	$(BIN)/python -m build --wheel

# Build the benchmark in C++ and the references that it checks, for every class of the embedded bundle. TENSORRT_ROOT is
# the folder of TensorRT or TensorRT for RTX. CUDA_ROOT is the folder of the CUDA runtime if it is in an unusual place.
cpp-bench: .venv/engine
	@command -v cmake > /dev/null || { echo "cmake was not found: apt install cmake g++"; exit 2; }
	@cmake -S cpp_bench -B cpp_bench/build --log-level=NOTICE -DBUILD_TESTING=OFF -DOpenVINO_DIR=$(OPENVINO_CMAKE) \
	    $(if $(TENSORRT_ROOT),-DTENSORRT_ROOT=$(TENSORRT_ROOT)) $(if $(CUDA_ROOT),-DCUDA_ROOT=$(CUDA_ROOT))
	MAKEFLAGS=--no-print-directory cmake --build cpp_bench/build
	$(BIN)/engine reference

# Compare the engine with its peers on this machine and write docs/benchmarks.md. benchmarks/bench.sh explains the
# variables MERGED, BUNDLE, FULL_SIZE, ... Takes more than an hour on two cores; leave the machine idle otherwise.
bench: .venv/everything
	@if command -v cmake > /dev/null; then $(MAKE) cpp-bench; else echo "cmake was not found: the page will list cyto_bench as not measured."; fi
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

# ONNX Runtime's builds for CUDA and for processors have the same files, so that the first must replace the second.
.venv/cuda: .venv/everything
	$(PIP) uninstall --yes onnxruntime onnxruntime-gpu
	$(PIP) install -c constraints.txt -e '.[cuda]'
	touch $@
