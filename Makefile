# make demo    memoizes calls to a chat endpoint over real text, in two processes, and shows what the second one saved
# make test    runs every check and every test, in their short forms
# make torture runs the kill, power loss, damage, staleness and process tests in their long forms
# make bench   compares the costs with raw heed, with other caches and, for Python, with other dicts and caches
#
# Each does all its set-up on a machine with a Rust toolchain, a C compiler and Python 3.10 or newer.

CARGO ?= cargo
PYTHON ?= python3
VENV = .venv
PACKAGE = py/cachemere

.PHONY: demo demo-rust test test-rust test-python lint lint-rust lint-python torture
.PHONY: bench bench-rust bench-python bench-load clean

demo: $(VENV)/package
	$(VENV)/bin/python $(PACKAGE)/examples/demo.py

demo-rust:
	$(CARGO) run --release --example demo

test: lint test-rust test-python

test-rust:
	$(CARGO) test --all-features
	$(CARGO) test --no-default-features --lib

test-python: $(VENV)/package $(VENV)/tools
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m pytest

lint: lint-rust lint-python

lint-rust:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-features --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --all-features --no-deps

lint-python: $(VENV)/package $(VENV)/tools
	cd $(PACKAGE) && ../../$(VENV)/bin/ruff format --check . && ../../$(VENV)/bin/ruff check .
	cd $(PACKAGE) && ../../$(VENV)/bin/mypy python
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m mypy.stubtest cachemere._engine

torture: $(VENV)/package $(VENV)/tools
	CACHEMERE_TORTURE=1 $(CARGO) test --release --all-features -- --nocapture
	cd $(PACKAGE) && CACHEMERE_TORTURE=1 ../../$(VENV)/bin/python -m pytest

bench: bench-rust bench-python

bench-rust:
	$(CARGO) bench --bench costs
	cd benches/peers && $(CARGO) run --release

# BENCH=--quick: a small run that shows it works; BENCH=--write: into docs/ as well.
bench-python:
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python benches/python/install.py
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps ./$(PACKAGE)
	.venv-bench/bin/pip install --quiet ./$(PACKAGE)
	.venv-bench/bin/python benches/python/run.py $(BENCH)

# Five million pairs out of files, against py-lmdb filled by hand; some minutes.
bench-load: $(VENV)/package $(VENV)/tools
	$(VENV)/bin/python benches/python/load.py --files 4
	$(VENV)/bin/python benches/python/load.py --files 1

# The package, built and installed as a user would, whenever one of its sources has changed.
$(VENV)/package: $(VENV)/pip Cargo.toml Cargo.lock $(shell find src $(PACKAGE)/src $(PACKAGE)/python -name '*.rs' -o -name '*.py' -o -name '*.pyi') $(PACKAGE)/Cargo.toml $(PACKAGE)/pyproject.toml
	$(VENV)/bin/pip install --quiet --force-reinstall --no-deps ./$(PACKAGE)
	$(VENV)/bin/pip install --quiet ./$(PACKAGE)
	touch $@

# What the tests and checks need beside it.
$(VENV)/tools: $(VENV)/pip $(PACKAGE)/pyproject.toml
	$(VENV)/bin/pip install --quiet --group $(PACKAGE)/pyproject.toml:test
	touch $@

$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	touch $@

clean:
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
	rm -rf $(VENV) .venv-bench
