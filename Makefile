# A newcomer needs two of these: make demo, make test.
VENV := .venv
PYTHON ?= python3
READY := $(VENV)/.ready
# Most tests wait for hosts; with PYTEST="tests/..." there are no workers, for one file is read and debugged more easily so.
WORKERS ?= 3

.PHONY: demo test lint docs bench netbox soak lock setup clean

demo: setup                ## set up, then the whole job on the embedded fleet
	$(VENV)/bin/opsctl demo

test: setup                ## every test; real hosts where this machine can have them
	$(VENV)/bin/pytest $(or $(PYTEST),-n $(WORKERS))

lint: setup                ## style, types, imports, Ansible content
	$(VENV)/bin/pytest -q tests/house --ignore tests/house/test_other_python.py $(PYTEST)

docs: setup                ## write the generated pages of docs/reference
	$(VENV)/bin/python docs/generate.py

bench: setup               ## each promise of speed, as a ratio against what it replaces
	$(VENV)/bin/python -m tests.bench.run $(BENCH)

netbox: setup              ## a real NetBox with two municipalities to try, and a workspace for it; Ctrl-C ends it
	$(VENV)/bin/python -m tests.netbox.try_it

soak: setup                ## the long series that make test leaves out
	$(VENV)/bin/pytest -m soak tests/soak $(PYTEST)

setup: $(READY)

$(READY): pyproject.toml requirements/dev.txt requirements/files.txt .ci/system-packages
	sh .ci/system-packages
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes -r requirements/dev.txt
	$(VENV)/bin/pip install --quiet --require-hashes --no-deps -r requirements/files.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lock:                      ## renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml -o requirements/runtime.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt

clean:                     ## remove what make made in this folder
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
