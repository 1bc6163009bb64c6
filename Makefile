# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
.PHONY: help demo test clients lint release soak bench check matrix toolchain install-postgres instructions

BUNDLES = $(filter-out %.digests.json %/seal_vectors.json,$(wildcard parity/fixtures/*.json ../shared/parity/*.json))
PARITY = cargo run --quiet --release --package decisiongraph-parity --

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: toolchain ## projects a small decision log on the embedded store and explains each step
	cargo run --quiet --bin decisiongraph -- demo

test: install-postgres lint ## formatting, lints and every test, against a throw-away PostgreSQL and the embedded store
	.ci/instructions
	cargo test --workspace --no-run
	.ci/clients
	.ci/tests

clients: toolchain ## tests of the Python and TypeScript clients, against a node; needs python3 and npm
	.ci/clients

instructions: toolchain ## instructions of the rules' inner loops against .ci/instructions.baseline; needs valgrind
	.ci/instructions

matrix: toolchain ## the tests that depend on the server, on PostgreSQL 14 to 18 from the npm registry, as a table
	.ci/matrix

release: toolchain ## the program to ship, target/release/decisiongraph, with its debug information beside it
	cargo build --release --locked --package decisiongraph-cli --bin decisiongraph
	.ci/split-debug target/release/decisiongraph

lint:
	@.ci/toolchain lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

toolchain:
	@.ci/toolchain

install-postgres: toolchain
	@.ci/postgres

check: ## every bundle of ../shared/parity and of this repository, on both backends
	$(PARITY) check $(BUNDLES)
	$(PARITY) check --backend postgres $(BUNDLES)

bench: ## the measures of docs/benchmarks, on a throw-away PostgreSQL and on the embedded store
	$(PARITY) bench
	$(PARITY) bench --database embedded

soak: install-postgres ## the full sizes and a minute of fuzzing per target: two hours and a half, with a table at the end (target/soak/report.md)
	.ci/soak
