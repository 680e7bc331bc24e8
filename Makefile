# make demo    memoizes calls to a chat endpoint over real text, in two processes, and shows what the second one saved
# make test    runs every check and every test, in their short forms
# make torture runs the kill, power loss, damage, staleness and process tests in their long forms
# make bench   compares the costs with raw heed, with other caches and, for Python, with other dicts and caches
#
# Each does all its set-up on a machine with a Rust toolchain, a C and C++ compiler and Python 3.10 or newer. With
# PYTHON=python3.13 it is that one's; make clean before it, as environments keep theirs.
#
# RocksDB is compiled once, in the release profile: what is built with it is always built with `--release`.

CARGO ?= cargo
PYTHON ?= python3
VENV = .venv
PACKAGE = py/cachemere
# With the lowest versions of hosts that the extras allow.
OLDEST_VENV = .venv-oldest
OLDEST_TESTS = $(addprefix tests/integrations/test_,adapters.py cost.py event_loop.py hosts.py key_value.py langchain.py \
	langchain_conformance.py langgraph.py litellm.py llama_index.py requests.py second_run.py) tests/http_clients
# Libraries that take diskcache and go with other versions than those of the hosts: each in an environment of its own.
OTHER_HOSTS = ragas autogen
# Of the distribution with RocksDB, in an environment that has both.
ROCKS_VENV = .venv-rocks
ROCKS_PACKAGE = py/cachemere-rocksdb
WHEELS = target/wheels

FEATURES = --features load
# Tests that end processes at named places, or break rules on purpose, in a build of their own. It has what a program can
# choose instead of moka and chacha20poly1305 as well.
FAULT_FEATURES = --features load,fault-injection,quick_cache,ring
FAULT_TESTS = --test kill_points --test power_loss_rules
# The tests of what every front and every cipher does.
BOTH_FRONTS = --lib --test basics --test model --test never_stale --test fork --test format --test secrecy
WITH_QUICK_CACHE = CACHEMERE_TEST_FRONT=quick_cache
ROCKS_FEATURES = --release --features rocksdb
# The tests of what every backend does.
BOTH_BACKENDS = --test basics --test model --test stages --test bad_input
WITH_LIBCLANG = eval "$$($(VENV)/bin/python $(ROCKS_PACKAGE)/build_backend/libclang.py)" &&

.PHONY: demo demo-rust test test-rust test-python test-rocks test-oldest-hosts test-other-hosts \
	$(OTHER_HOSTS:%=test-with-%) lint lint-rust lint-python lint-rocks \
	torture torture-machine bench bench-rust bench-python bench-load bench-rocks bench-facade clean

demo: $(VENV)/package
	$(VENV)/bin/python $(PACKAGE)/examples/demo.py

demo-rust:
	$(CARGO) run --release --example demo

test: lint test-rust test-python lint-rocks test-rocks

test-rust:
	$(CARGO) test $(FEATURES)
	$(WITH_QUICK_CACHE) $(CARGO) test $(FAULT_FEATURES) $(FAULT_TESTS) $(BOTH_FRONTS)
	$(CARGO) test --no-default-features --lib

test-python: $(VENV)/package $(VENV)/tools $(VENV)/hosts
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m pytest

test-rocks: target/rocksdb $(ROCKS_VENV)/package $(ROCKS_VENV)/tools
	$(WITH_LIBCLANG) $(CARGO) test $(ROCKS_FEATURES) --lib rocks::
	$(WITH_LIBCLANG) $(CARGO) test $(ROCKS_FEATURES) --test 'rocks*'
	$(WITH_LIBCLANG) CACHEMERE_TEST_BACKEND=rocksdb $(CARGO) test $(ROCKS_FEATURES) $(BOTH_BACKENDS)
	$(WITH_LIBCLANG) $(CARGO) test $(ROCKS_FEATURES) --doc rocks
	cd $(ROCKS_PACKAGE) && ../../$(ROCKS_VENV)/bin/python -m pytest

test-oldest-hosts: $(OLDEST_VENV)/package $(OLDEST_VENV)/tools $(OLDEST_VENV)/oldest-hosts
	cd $(PACKAGE) && ../../$(OLDEST_VENV)/bin/python -m pytest $(OLDEST_TESTS)

test-other-hosts: $(OTHER_HOSTS:%=test-with-%)

$(OTHER_HOSTS:%=test-with-%): test-with-%: .venv-%/package .venv-%/tools .venv-%/host
	cd $(PACKAGE) && ../../.venv-$*/bin/python -m pytest tests/diskcache/with_$*.py

lint: lint-rust lint-python

lint-rust:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace $(FEATURES) --all-targets -- --deny warnings
	$(CARGO) clippy $(FAULT_FEATURES) --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(FEATURES) --no-deps
	CARGO="$(CARGO)" .ci/check-macos $(FEATURES)

lint-python: $(VENV)/package $(VENV)/tools $(VENV)/hosts
	cd $(PACKAGE) && ../../$(VENV)/bin/ruff format --check . && ../../$(VENV)/bin/ruff check .
	cd $(PACKAGE) && ../../$(VENV)/bin/mypy python && ../../$(VENV)/bin/mypy --python-version 3.10 python
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m mypy.stubtest cachemere._engine

lint-rocks: target/rocksdb $(ROCKS_VENV)/package $(ROCKS_VENV)/tools
	$(WITH_LIBCLANG) $(CARGO) clippy --workspace $(ROCKS_FEATURES) --all-targets -- --deny warnings
	$(WITH_LIBCLANG) RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(ROCKS_FEATURES) --no-deps
	cd $(ROCKS_PACKAGE) && ../../$(ROCKS_VENV)/bin/ruff format --check . && ../../$(ROCKS_VENV)/bin/ruff check .
	cd $(ROCKS_PACKAGE) && ../../$(ROCKS_VENV)/bin/mypy python build_backend/libclang.py
	cd $(PACKAGE) && ../../$(ROCKS_VENV)/bin/python -m mypy.stubtest cachemere._rocks

torture: test-oldest-hosts test-other-hosts $(VENV)/package $(VENV)/tools $(VENV)/hosts target/rocksdb \
		$(ROCKS_VENV)/package $(ROCKS_VENV)/tools
	$(WITH_LIBCLANG) CACHEMERE_TORTURE=1 $(CARGO) test $(ROCKS_FEATURES) -- --nocapture
	$(WITH_QUICK_CACHE) CACHEMERE_TORTURE=1 $(CARGO) test --release $(FAULT_FEATURES) $(FAULT_TESTS) $(BOTH_FRONTS) -- --nocapture
	cd $(PACKAGE) && CACHEMERE_TORTURE=1 ../../$(VENV)/bin/python -m pytest
	cd $(ROCKS_PACKAGE) && CACHEMERE_TORTURE=1 ../../$(ROCKS_VENV)/bin/python -m pytest

# A virtual machine that loses power. It is emulated by what `qemu-system-x86_64` there is (for Debian: the package
# qemu-system-x86); its kernel is Debian's.
MACHINE = target/machine

ifneq ($(shell command -v qemu-system-x86_64),)
torture: torture-machine
endif

torture-machine: $(MACHINE)/vmlinuz
	CACHEMERE_MACHINE=$(abspath $(MACHINE)) $(CARGO) test --release $(FEATURES) --test virtual_machine -- --nocapture

$(MACHINE)/vmlinuz:
	rm -rf $(MACHINE) && mkdir -p $(MACHINE)
	cd $(MACHINE) && apt-get download busybox-static \
		$$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	cd $(MACHINE) && for package in *.deb; do dpkg -x "$$package" unpacked; done
	cd $(MACHINE) && cp unpacked/bin/busybox . && find unpacked -name 'virtio*.ko' -exec cp '{}' . ';'
	cp $(MACHINE)/unpacked/boot/vmlinuz-* $@

bench: bench-rust bench-python bench-rocks

bench-rust:
	$(CARGO) bench --bench costs --features quick_cache
	$(CARGO) bench --bench costs --features quick_cache,ring -- sealing
	cd benches/peers && $(CARGO) run --release

# BENCH=--quick: a small run that shows it works; BENCH=--write: into docs/ as well.
bench-python:
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python benches/python/install.py
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps ./$(PACKAGE)
	.venv-bench/bin/pip install --quiet ./$(PACKAGE)
	.venv-bench/bin/python benches/python/run.py $(BENCH)

# With BENCH=--write the times are kept under target/, the latest of each kind, and plotted into docs/.
, := ,
KEPT = $(if $(filter --write,$(BENCH)),--results target/$(1).jsonl)
PLOTTED = $(if $(filter --write,$(BENCH)),$(PYTHON) benches/python/plot_bars.py target/$(1).jsonl "$(2)" docs/$(1).svg)

# Five million pairs out of files, against py-lmdb filled by hand; some minutes.
bench-load: $(VENV)/package $(VENV)/tools
	$(VENV)/bin/python benches/python/load.py --files 4 $(call KEPT,loading)
	$(VENV)/bin/python benches/python/load.py --files 1 $(call KEPT,loading)
	$(call PLOTTED,loading,Loading 5$(,)000$(,)000 pairs from files: seconds)

# cachemere.diskcache beside diskcache, with the work of diskcache's own benchmark; some minutes. BENCH=--quick, --write, or
# BENCH=--ways: what was tried to make a set cheaper.
bench-facade:
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet "$$(grep '^diskcache==' benches/python/requirements.txt)"
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps ./$(PACKAGE)
	.venv-bench/bin/pip install --quiet ./$(PACKAGE)
	.venv-bench/bin/python benches/python/diskcache_facade.py $(BENCH)

# RocksDBDict beside rocksdict and hugedict, and loading of five million pairs beside hugedict; some 20 minutes.
bench-rocks: $(ROCKS_VENV)/package
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python benches/python/install.py
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/cachemere-*.whl $(WHEELS)/cachemere_rocksdb-*.whl
	.venv-bench/bin/pip install --quiet $(WHEELS)/cachemere-*.whl $(WHEELS)/cachemere_rocksdb-*.whl
	.venv-bench/bin/python benches/python/rocks.py $(BENCH) $(call KEPT,rocksdb)
	.venv-bench/bin/python benches/python/rocks_load.py --files 4 $(filter --quick,$(BENCH)) $(call KEPT,loading)
	.venv-bench/bin/python benches/python/rocks_load.py --files 1 $(filter --quick,$(BENCH)) $(call KEPT,loading)
	$(call PLOTTED,loading,Loading 5$(,)000$(,)000 pairs from files: seconds)
	$(call PLOTTED,rocksdb,RocksDBDict beside others: µs an item)

# The package, built and installed whenever one of its sources has changed. Without build isolation: so that all that is
# compiled for both packages and for the tests is compiled once.
SOURCES = Cargo.toml Cargo.lock $(PACKAGE)/Cargo.toml $(PACKAGE)/pyproject.toml \
	$(shell find src $(PACKAGE)/src $(PACKAGE)/python -name '*.rs' -o -name '*.py' -o -name '*.pyi')

# With the build tools in the path, where maturin looks for itself.
BUILD_WHEEL = PATH="$(abspath $(VENV))/bin:$$PATH" pip wheel --quiet --no-build-isolation --no-deps --wheel-dir $(WHEELS)

$(VENV)/package: $(VENV)/build-tools $(SOURCES)
	rm -f $(WHEELS)/cachemere-*.whl
	$(BUILD_WHEEL) ./$(PACKAGE)
	$(VENV)/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/cachemere-*.whl
	$(VENV)/bin/pip install --quiet $(WHEELS)/cachemere-*.whl
	touch $@

$(ROCKS_VENV)/package: $(VENV)/package $(ROCKS_VENV)/pip target/rocksdb $(shell find $(ROCKS_PACKAGE) -name '*.toml' -o -name '*.py')
	rm -f $(WHEELS)/cachemere_rocksdb-*.whl
	$(BUILD_WHEEL) ./$(ROCKS_PACKAGE)
	$(ROCKS_VENV)/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/cachemere-*.whl $(WHEELS)/cachemere_rocksdb-*.whl
	$(ROCKS_VENV)/bin/pip install --quiet $(WHEELS)/cachemere-*.whl $(WHEELS)/cachemere_rocksdb-*.whl
	touch $@

target/rocksdb: $(VENV)/build-tools Cargo.lock
	@echo "compiling RocksDB, once: about 12 minutes on 2 cores"
	@mkdir -p target
	@began=$$(date +%s) && $(WITH_LIBCLANG) $(CARGO) build $(ROCKS_FEATURES) && \
		echo "RocksDB is compiled, after $$(($$(date +%s) - began)) s"
	touch $@

# What builds the packages, as their pyproject.toml say.
$(VENV)/build-tools: $(VENV)/pip $(ROCKS_PACKAGE)/pyproject.toml
	$(VENV)/bin/pip install --quiet "maturin>=1.9.4,<2" "libclang>=16"
	touch $@

# What the tests and checks need beside it.
%/tools: %/pip $(PACKAGE)/pyproject.toml
	$*/bin/pip install --quiet --group $(PACKAGE)/pyproject.toml:test
	touch $@

# Where the package is only installed.
$(OLDEST_VENV)/package $(OTHER_HOSTS:%=.venv-%/package): %/package: $(VENV)/package %/pip
	$*/bin/pip install --quiet --force-reinstall --no-deps $(WHEELS)/cachemere-*.whl
	$*/bin/pip install --quiet $(WHEELS)/cachemere-*.whl
	touch $@

$(OLDEST_VENV)/oldest-hosts: $(OLDEST_VENV)/pip $(PACKAGE)/tests/integrations/oldest.txt
	$(OLDEST_VENV)/bin/pip install --quiet --requirement $(PACKAGE)/tests/integrations/oldest.txt
	touch $@

$(OTHER_HOSTS:%=.venv-%/host): .venv-%/host: .venv-%/pip $(PACKAGE)/tests/diskcache/with_%.txt
	.venv-$*/bin/pip install --quiet --requirement $(PACKAGE)/tests/diskcache/with_$*.txt
	touch $@

# The libraries that have adapters.
%/hosts: %/pip $(PACKAGE)/pyproject.toml
	$*/bin/pip install --quiet --group $(PACKAGE)/pyproject.toml:hosts
	touch $@

%/pip:
	$(PYTHON) -m venv $*
	$*/bin/pip install --quiet --upgrade pip
	touch $@

.PRECIOUS: %/pip %/tools %/hosts

clean:
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
	rm -rf $(VENV) $(ROCKS_VENV) $(OLDEST_VENV) $(OTHER_HOSTS:%=.venv-%) .venv-bench
