# The two commands of a new user are `make demo` and `make test`.

# Cargo's directory; the binary is left in target/release in any case.
TARGET := $(or $(CARGO_TARGET_DIR),target)
DEMO_SECONDS ?=
SEEDS ?= 100000

.PHONY: all deps build demo test simulate mutants chaos bench compare expressions fmt lint docs images

all: build

deps:
	@./scripts/deps.sh

build: deps
	cargo build --release --workspace
	@mkdir -p target/release
	@if [ "$$(realpath $(TARGET))" != "$$(realpath target)" ]; then cp -f $(TARGET)/release/tidemill target/release/tidemill; fi

# The web analytics job on a generated access log. Ends with Ctrl-C, or after DEMO_SECONDS.
demo: build
	@target/release/tidemill demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: build
	cargo test --release --workspace

# The simulator of `make test` at length: 100 000 seeds.
simulate:
	TIDEMILL_SIMULATOR_SEEDS=$(SEEDS) cargo test --release -p tidemill-tests --test simulator -- --nocapture

# Breaks one promise after the other on purpose, and shows that a test notices each.
mutants: deps
	@./scripts/mutants.sh

# More than 300 faults, also at named places: some twenty minutes.
chaos: deps
	@./scripts/chaos.sh

bench: build
	cargo build --release -p tidemill-bench --bins --features json-libraries
	./bench/run.sh

# Beside a real Apache Flink (fetched from the package registries; needs Java 17).
compare: build
	./bench/compare.sh

# Other random expressions than the recorded ones, answered by a real Apache Flink now: SEED, COUNT.
SEED ?= 2
COUNT ?= 1000
expressions:
	./tests/flink/expressions.sh $(SEED) $(COUNT) $(TARGET)/expressions-$(SEED).txt
	EXPRESSIONS=$(abspath $(TARGET))/expressions-$(SEED).txt cargo test --release -p tidemill-planner --test expressions

fmt:
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

# The reference pages that are generated from the registries.
docs: build
	target/release/tidemill docs config > docs/config.md
	target/release/tidemill docs connectors > docs/connectors.md
	target/release/tidemill docs metrics > docs/metrics.md
	target/release/tidemill docs sql > docs/sql.md

# Screenshots of the page, as its test takes them.
images: build
	TIDEMILL_PAGE_IMAGES=$(abspath docs/images) TIDEMILL_REQUIRE_SERVICES=1 cargo test --release -p tidemill-cli -p tidemill-tests --test page
