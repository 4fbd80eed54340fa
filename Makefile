# Everything runs in .venv; `make install` makes it, and the other targets need nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Real data for the demo: make demo IMAGES=DIR CONTOURS=DIR [VALIDATE="PATIENT ..."]
IMAGES ?=
CONTOURS ?=
VALIDATE ?=
DEMO ?= demo

# What to fuzz, and for how long.
TARGET ?= dicom
SECONDS ?= 900

.DEFAULT_GOAL := help
.PHONY: help install demo test fuzz soak lint types protos check clean

help:  ## Show what there is to make.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Create .venv and install lvseg with all it needs for work on it.

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install  ## Train, export, serve and measure on phantoms, or on IMAGES and CONTOURS.
	$(BIN)/python -m lvseg_serve.demo --out $(DEMO) \
		$(if $(IMAGES),--images '$(IMAGES)') $(if $(CONTOURS),--contours '$(CONTOURS)') \
		$(foreach patient,$(VALIDATE),--validate $(patient))

# A process for each core, up to 4, with one thread each: two threads on a core that another wants are slower than one.
test: install  ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

fuzz: install  ## Look for input that breaks a promise: make fuzz [TARGET=dicom|contour|request] [SECONDS=900]
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	PYTHONPATH=. $(BIN)/python fuzz/run.py $(TARGET) -max_total_time=$(SECONDS)

soak: install  ## Run the tests that go on for minutes; LVSEG_SOAK_S=SECONDS each.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --log-cli-level=INFO

lint: install  ## Check style.
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .

types: install  ## Check types.
	$(BIN)/mypy

# google/rpc/status.proto lies among the packages (googleapis-common-protos).
protos: install  ## Generate the Python code of the gRPC interface.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos \
		-I "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		--python_out=protos --grpc_python_out=protos --mypy_out=protos --mypy_grpc_out=protos \
		lvseg_api/v1/admin.proto lvseg_api/v1/segmentation.proto

check: lint types test  ## All that has to pass before a change lands.

clean:  ## Remove the environment and the caches.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist
