# `make demo` and `make test` do everything on a fresh machine that has cargo and python3.

.PHONY: demo test kill fuzz bench generate deploy dependencies

# Built with the workspace: alone it would have other features, and the SDK would be compiled once more for it.
LAMPLIGHTER := $(or $(CARGO_TARGET_DIR),target)/debug/lamplighter

# The main job, on the embedded parts: deploy, update, fail, go on.
demo:
	@cargo build --workspace --bins
	@tests/demo

# Every check. The tools are installed beside the build, from the registries, pinned.
test:
	@tests/setup & setup=$$!; cargo build --workspace --all-targets && wait $$setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	$(LAMPLIGHTER) generate --check
	cargo test --workspace

# Jobs while their workers and their runner are killed; `make test` does it on a smaller scale. KILL_SEED does it over.
kill: export KILL_JOBS ?= 10000
kill: export KILLS ?= 200
kill: export KILL_RUNNERS ?= 1
kill:
	cargo build --workspace --bins --examples
	cargo test -p lamplighter-cli --test it -- runner::killed --nocapture

# The measures, each beside its baseline; a promise that is broken hides no other. Jobs are compared with streaq on Redis:
# `redis-server` must be installed.
bench:
	@tests/setup streaq
	cargo build --release -p lamplighter-benches -p lamplighter-cli -p dispatcher --bins
	cargo build --profile server -p lamplighter-cli
	@broken=0; for bench in due measure latency pulse_decisions history jobs; do \
		$(or $(CARGO_TARGET_DIR),target)/release/$$bench || broken=1; \
	done; exit $$broken

# infra/template.yaml, from the tasks.
generate:
	cargo build --workspace --bins
	$(LAMPLIGHTER) generate

# To the account of the environment: make deploy VERSION=7
deploy:
	cargo build --workspace --bins
	$(LAMPLIGHTER) build
	sam deploy --parameter-overrides Version=$(VERSION)

# What comes in from outside, fuzzed: each target for a minute, or for FUZZ_SECONDS. Needs a C++ compiler.
fuzz:
	@fuzz/run

# Advisories, licences and sources of the dependencies, and those nobody uses; needs cargo-deny and cargo-machete.
dependencies:
	cargo deny check advisories bans licenses sources
	cargo machete
