# make demo    runs the product on real input
# make test    runs every check and every test, in their short forms
# make torture runs the kill, power loss, damage and staleness tests in their long forms
# make bench   compares the costs with raw heed and with other caches

CARGO ?= cargo

.PHONY: demo test lint torture bench clean

demo:
	$(CARGO) run --release --example demo

test: lint
	$(CARGO) test --all-features
	$(CARGO) test --no-default-features --lib

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --all-features --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --all-features --no-deps

torture:
	CACHEMERE_TORTURE=1 $(CARGO) test --release --all-features -- --nocapture

bench:
	$(CARGO) bench --bench costs
	cd benches/peers && $(CARGO) run --release

clean:
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
