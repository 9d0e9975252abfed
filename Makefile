# What a person runs. Everything goes through one target folder and one way to call cargo (--release --workspace), so
# that nothing is built twice; every step does nothing if it has been done.

.PHONY: help demo test torture hostile differential fuzz check build guests bench bench-spark clean-demo

CARGO ?= cargo
GUESTS = transforms/clean transforms/flatten transforms/split

help:
	@echo "make demo         change events through two transforms into Delta tables in ./demo-out; no server needed"
	@echo "make test         all tests: unit, golden, end to end, with a real Kafka and a real PostgreSQL"
	@echo "make torture      the crash lane at full length: kills under live load, every row judged; takes an hour"
	@echo "make hostile      every kind of hostile guest a hundred times over; takes half an hour"
	@echo "make differential 1,000 random tables of a real PostgreSQL in every mode of Debezium, compared cell by cell; half an hour"
	@echo "make fuzz         an hour of libFuzzer for each reader of other people's bytes"
	@echo "make check        format and lints"
	@echo "make build        the command: target/release/lakemill"
	@echo "make guests       the shipped transforms as WebAssembly: target/guests/*.wasm"
	@echo "make bench        the figures of bench/RESULTS.md, measured on this machine; needs Kafka, which it starts"
	@echo "make bench-spark  Spark beside it in the same run; fetches it first"
	@echo "make clean-demo   removes ./demo-out"

build:
	@scripts/setup.sh build
	$(CARGO) build --release --workspace

guests:
	@scripts/setup.sh build
	@scripts/build-guest.sh $(GUESTS) --out target/guests

demo: build guests
	target/release/lakemill demo

# The lanes of tests/README.md, one after the other; ends with one line of the sum.
test:
	@scripts/setup.sh build lanes
	@scripts/test.sh

torture:
	@scripts/setup.sh build lanes
	@scripts/torture.sh

hostile:
	@scripts/setup.sh build
	LAKEMILL_HOSTILE_ROUNDS=100 $(CARGO) test --release --workspace --test hostile

differential:
	@scripts/setup.sh build lanes
	@scripts/differential.sh

fuzz:
	@scripts/setup.sh build
	@scripts/fuzz.sh --seconds 3600

check:
	@scripts/setup.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) clippy --release --workspace --test '*' -- -D warnings

bench: build guests
	@scripts/setup.sh lanes
	bench/run.sh

bench-spark: build guests
	@scripts/setup.sh lanes
	bench/spark.sh

clean-demo:
	rm -rf demo-out
