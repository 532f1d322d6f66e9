# Every target creates or updates .venv by itself. PYTHON=python3.12 selects another interpreter for it.
PYTHON ?= python3
DURATION ?= 20
SOURCE ?=
# Horizontal field of view in degrees, for a source without camera_info.
HFOV ?=
# VIEW=1 shows the demo live in a browser.
VIEW ?=
BIN := .venv/bin

.PHONY: demo test test-fast test-gpu test-kilted fuzz flood lint docs bench bench-node bench-engines soak colcon tensorrt-api format clean

demo: .venv/.runtime $(if $(VIEW),.venv/.view)
	$(BIN)/python -m depth_estimation_ros.demo --duration $(DURATION) $(if $(VIEW),--view) $(if $(SOURCE),--source "$(SOURCE)") $(if $(HFOV),--horizontal-fov $(HFOV))

# Each worker runs one test file after another. WORKERS=0 runs all tests in one process, for a debugger.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 4 ? cores : 4)))
PYTEST := -m pytest --numprocesses $(WORKERS) --dist loadfile

test: .venv/.test
	ROS_PYTHON_CHECK_FIELDS=1 $(BIN)/python $(PYTEST) test

# Tests to run during a change: without processes, ROS, training and PyTorch.
test-fast: .venv/.test-fast
	$(BIN)/python $(PYTEST) test --fast --ignore test/training -r fE

# The tests that use ROS, on ROS 2 Kilted, in an environment of its own without PyTorch.
KILTED := .venv-kilted/bin
WITHOUT_ROS := test/training* test/gpu* test/package* test/hostile* test/tools* test/backends/test_engine* test/backends/test_tensorrt* \
  test/evaluation/test_evaluation* test/wrapping* test/bags* test/anchor* test/geometry* test/synthetic*
test-kilted: .venv-kilted/.test
	ROS_PYTHON_CHECK_FIELDS=1 $(KILTED)/python $(PYTEST) test $(foreach tests,$(WITHOUT_ROS),--ignore-glob='$(tests)')

# Hostile input for an hour; make test tries a little of it. SEED=N repeats the round of a seed.
FUZZ_SECONDS ?= 3600
fuzz: .venv/.test
	$(BIN)/python test/hostile/fuzz.py --seconds $(FUZZ_SECONDS) $(if $(SEED),--seed $(SEED))

# The running node under hostile messages, for ten minutes.
FLOOD_SECONDS ?= 600
flood: .venv/.test
	PYTHONPATH=test $(BIN)/python test/hostile/flood.py --seconds $(FLOOD_SECONDS) $(if $(SEED),--seed $(SEED))

bench: .venv/.runtime
	$(BIN)/python -m depth_estimation_ros.bench.pipeline

# Processor time of the node apart from inference.
bench-node: .venv/.runtime
	$(BIN)/pip install --quiet -e '.[quantize]'
	$(BIN)/python -m depth_estimation_ros.bench.node

# Run camera and node for an hour and check whether memory, handles or latency grow.
SOAK_SECONDS ?= 3600
soak: .venv/.runtime
	$(BIN)/pip install --quiet -e '.[report]'
	$(BIN)/python -m depth_estimation_ros.bench.soak --duration $(SOAK_SECONDS)

# The same networks on PyTorch, ONNX Runtime and OpenVINO, float and int8; DATA=FOLDER adds accuracy on NYU frames.
bench-engines: .venv/.training
	$(BIN)/python -m training.bench $(if $(DATA),--data "$(DATA)")

# Builds as on a robot, with and without --symlink-install, finds the package in the ament index and runs a program.
colcon: .venv/.colcon .venv/.runtime
	PATH="$(CURDIR)/$(BIN):$$PATH" bash -ec '\
	  colcon list --base-paths . | grep -F "(ros.ament_python)"; \
	  colcon build --base-paths .; \
	  colcon build --base-paths . --symlink-install --build-base build/symlink --install-base install/symlink; \
	  for base in install install/symlink; do ( \
	    source $$base/setup.bash; \
	    cd install; \
	    share=$$(python -c "from ament_index_python.packages import get_package_share_directory as share; \
	                        print(share(\"depth_estimation_ros\"))"); \
	    echo $$share; \
	    test -f $$share/launch/depth_estimation.launch.py; \
	    $$share/../../lib/depth_estimation_ros/depth_estimation_node --help >/dev/null \
	  ); done'

# Checks every TensorRT call of the package against the real bindings of several versions; they need no GPU.
BINDINGS := tensorrt-bindings==8.6.1 tensorrt-cu12-bindings==10.0.1 tensorrt-cu12-bindings==10.3.0 \
  tensorrt-cu12-bindings==10.13.0.35 tensorrt-cu12-bindings==11.4.0.106 tensorrt-cu13-bindings==11.4.0.106
tensorrt-api: .venv/.test
	for wheel in $(BINDINGS); do $(BIN)/pip download --quiet --no-deps --dest .venv/wheels $$wheel || exit 1; done
	TENSORRT_WHEELS=.venv/wheels $(BIN)/python -m pytest test/backends/test_tensorrt_api.py

# What needs a CUDA device: the runner of TensorRT with real kernels, and PyTorch. Needs no TensorRT.
test-gpu: .venv/.test
	$(BIN)/python -m pytest test/gpu test/training/test_bench_gpu.py -m gpu

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The documentation site: site/index.html. `mkdocs serve` shows it while you write, with search.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: .venv/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-kilted build install log demo_output bench_output soak_output bag_report site

# Stamp files: pip runs only when a requirement changed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "Python 3.10 to 3.13 is needed; choose one with PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "Python's venv module is missing; install it, e.g.: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.runtime: setup.py requirements/ros2-jazzy.txt | $(BIN)/python
	$(BIN)/pip install --quiet -r requirements/ros2-jazzy.txt -e .
	@touch $@

.venv/.view: .venv/.runtime
	$(BIN)/pip install --quiet -e '.[view]'
	@touch $@

.venv/.training: .venv/.runtime
	@echo "Installing PyTorch for the training package: several GB, a few minutes the first time."
	$(BIN)/pip install --quiet -e '.[training]'
	@touch $@

.venv/.test: .venv/.training
	$(BIN)/pip install --quiet -e '.[test,view]'
	@touch $@

.venv/.test-fast: .venv/.runtime
	$(BIN)/pip install --quiet -e '.[test,quantize]'
	@touch $@

.venv/.colcon: requirements/colcon.txt | $(BIN)/python
	$(BIN)/pip install --quiet -r requirements/colcon.txt
	@touch $@

.venv/.lint: requirements/lint.txt .venv/.runtime
	$(BIN)/pip install --quiet -r requirements/lint.txt
	@touch $@

.venv/.docs: requirements/docs.txt | $(BIN)/python
	$(BIN)/pip install --quiet -r requirements/docs.txt
	@touch $@

.venv-kilted/.test: setup.py requirements/ros2-kilted.txt | $(BIN)/python
	$(BIN)/python -m venv .venv-kilted
	$(KILTED)/pip install --quiet -r requirements/ros2-kilted.txt -e '.[test,quantize]'
	@touch $@
