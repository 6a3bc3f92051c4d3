# `make demo` and `make test` work on a fresh machine that has cargo and python3.

.PHONY: demo test outside kill soak fuzz bench generate deploy dependencies

# A build from nothing is faster without the files for incremental builds, and a quarter smaller.
export CARGO_INCREMENTAL ?= 0

# Built with the whole workspace. A build of this package alone has other features, and would compile the SDK again.
LAMPLIGHTER := $(or $(CARGO_TARGET_DIR),target)/debug/lamplighter

# Deploys, updates, fails and continues, on the embedded AWS services.
demo:
	@cargo build --workspace --bin lamplighter
	@tests/demo

# Runs every check. The tools are pinned, and installed from the registries while the workspace builds. The build checks the
# lints, too. Many tests wait for processes, so more of them run at once than there are processors, and the end-to-end tests
# and the dispatcher's run beside the others. `make test TEST='cargo test --workspace --no-fail-fast'` goes on after a failure.
TEST = cargo test --workspace
test: export RUSTC_WORKSPACE_WRAPPER := $(CURDIR)/tests/rustc-with-lints
test: export RUST_TEST_THREADS ?= 3
test:
	cargo fmt --all --check
	@tests/setup & setup=$$!; cargo build --workspace --all-targets && wait $$setup
	$(LAMPLIGHTER) generate --check
	@tests/side-by-side '$(TEST) --lib --bins --test it --test race --test compile_errors --test tidy; code=$$?; $(TEST) --doc && exit $$code' \
	    '$(TEST) --test e2e --test up' '$(TEST) --test dispatcher --test outside'

# Builds, tests and deploys a project outside the repository as a stranger would, from packed crates, with nothing compiled
# before. `make test` does the same with the dependencies that it has compiled already.
outside: export OUTSIDE_COLD := 1
outside:
	@tests/setup emulator sam
	cargo test --workspace --test outside -- --nocapture

# Runs jobs while their workers and their runner are killed. `make test` does so on a smaller scale. KILL_SEED repeats a run.
kill: export KILL_JOBS ?= 10000
kill: export KILLS ?= 200
kill: export KILL_RUNNERS ?= 1
kill:
	cargo build --workspace --bins --examples
	cargo test -p lamplighter-cli --test it -- runner::killed --nocapture

# Runs the tests with generated events, races and faults at a larger scale than `make test`. FUZZ_SEED and SEED repeat a run.
soak: export FUZZ_EVENTS ?= 20000
soak: export RACES ?= 1000
soak: export ROUNDS ?= 400
soak:
	cargo build --workspace --bins --examples
	cargo test --workspace --test it --test dispatcher -- --nocapture fuzz:: races:: faults::

# Runs the benchmarks, each beside its baseline. Fails if a promise is broken. The functions are built apart from the
# programs, whose features they would have otherwise. The jobs are compared with streaq on Redis, so `redis-server` must
# be installed.
bench:
	@tests/setup streaq
	cargo build --release -p bench-functions -p dispatcher --bins
	cargo build --release -p lamplighter-benches -p lamplighter-cli --bins
	cargo build --profile server -p lamplighter-cli
	@$(or $(CARGO_TARGET_DIR),target)/release/bench due measure latency pulse_decisions history reading cold_build jobs

# Writes infra/template.yaml from the tasks.
generate:
	cargo build --workspace --bins
	$(LAMPLIGHTER) generate

# Deploys to the AWS account of your environment: make deploy VERSION=7
deploy:
	cargo build --workspace --bins
	$(LAMPLIGHTER) build
	sam deploy --parameter-overrides Version=$(VERSION)

# Fuzzes external input: each target for a minute, or for FUZZ_SECONDS. Needs a C++ compiler.
fuzz:
	@fuzz/run

# Checks the dependencies: advisories, licences, sources, and unused ones. Needs cargo-deny and cargo-machete. The crate for
# applications must compile without the runtime of tasks, which a build of the whole workspace does not show.
dependencies:
	cargo deny check advisories bans licenses sources
	cargo machete
	cargo check -p lamplighter --no-default-features
	cargo check -p lamplighter --no-default-features --features stacks
