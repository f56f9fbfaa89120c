# Two commands set everything up on a machine with python3, make, git and a
# network: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
UV_VERSION := 0.13.8

export PATH := $(CURDIR)/$(BIN):$(PATH)
# The library is found through the Snakefile; programs outside of it need the path.
export PYTHONPATH := $(CURDIR)/workflow

.PHONY: help demo notebook test format rulegraph pins docs clean benchmark-accuracy benchmark-segmentation benchmark-tables benchmark-growth benchmark-tracking benchmark-rows benchmark-speed benchmark-outlines benchmark-fuzz demo-model shipped-models env-cellpose env-stardist

help:
	@echo "make demo                run the whole pipeline on simulated movies, then say where to look"
	@echo "make notebook            run docs/examples.ipynb on the results of the demo, and write it with its plots to bench/"
	@echo "make test                run all tests, the linters among them"
	@echo "make format              format the code"
	@echo "make docs                write the generated parts of docs/ again"
	@echo "make pins                resolve envs/*.in to pinned versions"
	@echo "make env-cellpose        build .venv-cellpose, for experiments of the segmenter cellpose"
	@echo "make env-stardist        build .venv-stardist, for experiments of the segmenter stardist"
	@echo "make demo-model          train the model of the demo again"
	@echo "make shipped-models      train the models nuclei and phase of resources/ (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-accuracy  scores on real movies (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-segmentation  networks taught and judged by stills, hours in resumable parts (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-outlines  the segmenter threshold on real movies (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-tables    errors of the tables against simulated truth, in resumable parts"
	@echo "make benchmark-growth    growth of the real colony of benchmark-accuracy (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-tracking  tracks and divisions, beside trackpy alone and LapTrack (needs CYTOLAPSE_DATA)"
	@echo "make benchmark-rows      tables of ten million rows: memory and queries"
	@echo "make benchmark-fuzz      thousands of damaged files: movies, models, config and sheets"
	@echo "make benchmark-speed     times and memory (needs CYTOLAPSE_DATA)"
	@echo "make clean               remove results of the demo"

$(VENV)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Cytolapse needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# The system's certificates, as pip uses them: institutes behind a proxy have their own.
# Bytecode is compiled at once: where PYTHONDONTWRITEBYTECODE is set, every job
# would compile torch anew, which takes longer than most jobs.
$(VENV)/ready: $(VENV)/uv envs/requirements.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --system-certs --compile-bytecode -r envs/requirements.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready envs/requirements-dev.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --system-certs --compile-bytecode -r envs/requirements-dev.txt
	@touch $@

# Engines bring packages that would not agree with the pipeline's: each has an environment of its own.
env-cellpose env-stardist: env-%: .venv-%/ready

.venv-%/ready: $(VENV)/uv envs/requirements-%.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$*
	VIRTUAL_ENV=$(CURDIR)/.venv-$* $(BIN)/uv pip install --quiet --system-certs --compile-bytecode -r envs/requirements-$*.txt
	@touch $@

demo: $(VENV)/ready
	python workflow/demo.py prepare demo
	snakemake --cores $(CORES) --configfile demo/config.yaml
	@python workflow/demo.py check demo

notebook: $(VENV)/ready-dev
	@test -f results/demo/growth.parquet || { echo "results/demo: no tables; run make demo first"; exit 1; }
	mkdir -p bench
	cp docs/examples.ipynb bench/
	jupyter execute --inplace bench/examples.ipynb
	@echo "Look at bench/examples.ipynb in Jupyter, VS Code or any viewer of notebooks."

# The long files first, each on one worker (there is one SLURM on a machine); the unit tests fill the gaps.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/ready-dev
	python -m pytest $(PYTEST_OPTIONS) -n 2 --dist loadfile --no-loadscope-reorder tests/slurm tests/workflow tests/unit

format: $(VENV)/ready-dev
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow/rules

docs: $(VENV)/ready-dev
	python docs/generate.py

pins: $(VENV)/ready-dev
	uv pip compile --quiet --no-header --python-version 3.11 --upgrade envs/requirements.in -o envs/requirements.txt
	uv pip compile --quiet --no-header --python-version 3.11 --upgrade envs/requirements-dev.in -o envs/requirements-dev.txt
	for engine in cellpose stardist; do \
	  uv pip compile --quiet --no-header --python-version 3.11 --upgrade envs/requirements-$$engine.in \
	    -o envs/requirements-$$engine.txt || exit 1; done
	python docs/generate.py envs

demo-model: $(VENV)/ready
	python workflow/demo.py annotations demo/annotations
	snakemake models --cores $(CORES) --configfile demo/training.yaml
	cp models/demo_new/weights.safetensors models/demo_new/model.json resources/models/demo/

shipped-models: $(VENV)/ready-dev
	python benchmarks/shipped.py

benchmark-accuracy: $(VENV)/ready-dev
	python benchmarks/accuracy.py

# PARTS="gowt1 hela/googlenet_fcn" runs these alone; what was done is kept in bench/.
benchmark-segmentation: $(VENV)/ready-dev
	python benchmarks/segmentation.py $(PARTS)

benchmark-outlines: $(VENV)/ready-dev
	python benchmarks/outlines.py

# LIGHT="usual" SCENES="rods" make a part alone; what was done is kept in bench/.
benchmark-tables: $(VENV)/ready-dev
	python benchmarks/tables.py $(if $(SCENES),--scenes $(SCENES)) $(if $(LIGHT),--light $(LIGHT)) --cores $(CORES)

benchmark-growth: $(VENV)/ready-dev
	python benchmarks/realgrowth.py

# The files take a few GB in bench/rows.
benchmark-rows: $(VENV)/ready-dev
	python benchmarks/rows.py

benchmark-speed: $(VENV)/ready-dev
	python benchmarks/speed.py

# TARGETS="PNG config.yaml" fuzzes these alone.
benchmark-fuzz: export OMP_NUM_THREADS = 1
benchmark-fuzz: $(VENV)/ready-dev
	python benchmarks/fuzz.py $(TARGETS)

# PARTS="given_sim own_hela" runs these alone; own_... wants what benchmark-accuracy leaves in bench/accuracy.
benchmark-tracking: export OMP_NUM_THREADS = 1
benchmark-tracking: $(VENV)/ready-dev
	python benchmarks/tracking.py $(PARTS)

clean:
	rm -rf demo results/demo logs/demo
