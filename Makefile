# make demo, make test: on a machine with Python and make, that is all it takes. .venv is theirs; a second run reuses it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BINDINGS := $(VENV)/.bindings
DETECTORS := $(VENV)/.cache/detectors
PYCUDA := $(VENV)/.pycuda
TYPES := $(VENV)/.types
REAL := $(abspath $(VENV)/.real)
RELEASE := $(abspath $(VENV)/.release)
SITE_SCRIPTS := $(VENV)/.site

# Where the project's motion capture lies beside the repository, the demo certifies on it; elsewhere on procedural walkers.
MOTION := $(abspath $(wildcard ../shared/data/cmu_h36m17.npz))
ifneq ($(MOTION),)
demo: export POSEMOE_EDGE_DEMO_DATA := $(MOTION)
endif

.PHONY: demo test test-real test-release lint types site bench clean

demo: $(READY)
	$(BIN)/posemoe-edge demo

test: $(READY) $(BINDINGS) $(DETECTORS) $(PYCUDA)
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/real --ignore tests/release $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

# A real RTSP server, rclpy, pyzeros, a cluster of Ray, Triton and a browser. What cannot be had is said, and its tests are skipped; one at a
# time, since they keep real time.
test-real: $(READY)
	bash tests/real/parts.sh $(BIN)/python $(REAL)
	ros=$(REAL)/ros/bin/python; test -x $$ros || ros=; zeros=$(REAL)/zeros/bin/python; test -x $$zeros || zeros=; \
	cluster=$(REAL)/ray/bin/python; test -x $$cluster || cluster=; triton=$(REAL)/triton/bin/python; test -x $$triton || triton=; \
	POSEMOE_EDGE_RCLPY_PYTHON=$$ros POSEMOE_EDGE_PYZEROS_PYTHON=$$zeros POSEMOE_EDGE_RAY_PYTHON=$$cluster \
	POSEMOE_EDGE_TRITON_PYTHON=$$triton $(BIN)/python -m pytest -rs tests/real

# The wheel in clean environments, one for each set of extras. They are kept, and made anew when pyproject.toml or constraints.txt changes.
# The longest files come first, so that both workers are done at the same time.
test-release: $(READY) $(DETECTORS)
	POSEMOE_EDGE_RELEASE=$(RELEASE) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -rs --durations 5 \
	  tests/release/test_readme.py tests/release/test_extra_export.py tests/release

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint docker/*.Dockerfile
	if test -x $(BIN)/shellcheck; then $(BIN)/shellcheck .ci/run $$(git ls-files '*.sh'); fi # it has no wheel for Linux on ARM

# A link under the package's name shows the repository to mypy as the package that it is: modules, tests and examples in one run.
# Benchmarks are scripts that import each other by their bare names, so they are checked in a run of their own.
types: $(READY)
	mkdir -p $(TYPES) && ln -sfn ../.. $(TYPES)/posemoe_edge
	MYPYPATH=$(TYPES) $(BIN)/mypy -p posemoe_edge
	MYPYPATH=$(TYPES):benchmarks $(BIN)/mypy benchmarks/*.py benchmarks/gpu/*.py benchmarks/peers/*.py benchmarks/footage/*.py benchmarks/fuzzing/*.py benchmarks/faulting/*.py

# The documentation as a site, in build/site: open index.html there. A warning is an error.
site: $(READY) $(SITE_SCRIPTS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	$(BIN)/posemoe-edge bench
	$(BIN)/python benchmarks/step.py

clean:
	rm -rf $(VENV) build dist demo *.egg-info .coverage .mypy_cache .nox .pytest_cache .ruff_cache

# torch comes first and alone, so that its pinned build is the one that the extras find.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (some minutes the first time) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[export,train,camera,plot,notebook,cpu,ros,rerun,foxglove,zenoh,metrics,sign,parquet,serve,docs,dev]'
	touch $@

# NVIDIA's Python bindings of several TensorRT versions, 1.2 MB each: tests compare the names that we use with them, and are
# skipped where they cannot be had.
$(BINDINGS): tests/runtime/engines/trt/bindings.txt | $(READY)
	rm -rf $@ $@.part
	for package in $$(cat $<); do \
	  $(BIN)/pip download --quiet --disable-pip-version-check --retries 1 --no-deps --dest $@.part $$package || exit 0; \
	done; mv $@.part $@ && touch $@

# BlazePose's networks, 37 MB at most, in a cache of the tests' own: those that cannot be had are missing in it, and their tests
# are skipped.
$(DETECTORS): runtime/detectors/models.py | $(READY)
	mkdir -p $@
	for name in blazepose blazepose:lite blazepose:heavy; do \
	  PIP_RETRIES=1 npm_config_fetch_retries=1 POSEMOE_EDGE_CACHE=$(@D) $(BIN)/posemoe-edge detectors get $$name || true; \
	done; touch $@

# pycuda has no wheels. Where there is CUDA's compiler it is built for the tests, which takes minutes; elsewhere, and where that
# fails, the folder stays empty, and they run on cuda-bindings alone.
$(PYCUDA): tests/runtime/cuda/pycuda.sh | $(READY)
	rm -rf $@ $@.part && mkdir $@.part
	if command -v nvcc > /dev/null && ! bash $< $(BIN)/python $@.part; then rm -rf $@.part && mkdir $@.part; fi
	mv $@.part $@ && touch $@

# Two scripts of the site: one draws charts, the other searches without a server. Where they cannot be had the site shows charts as
# text, and is searched through a server only.
$(SITE_SCRIPTS): scripts/website/scripts.txt | $(READY)
	rm -rf $@ $@.part && mkdir -p $@.part
	while read -r package file name; do \
	  npm_config_fetch_retries=1 npm pack --silent --pack-destination $@.part $$package > /dev/null && \
	  tar xzf $@.part/*.tgz -O package/$$file > $@.part/$$name && rm $@.part/*.tgz || rm -f $@.part/$$name $@.part/*.tgz; \
	done < $<; mv $@.part $@ && touch $@
