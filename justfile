# `just test` is the front door. What the machine lacks (nextest, cargo-deny) is left out, with a word about it.

set shell := ["bash", "-euo", "pipefail", "-c"]

_default:
    @just --list

# Format, lints, dependencies, tests, documentation tests, compression, fault sites.
test: fmt clippy deny unit doc-test compression sites examples

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

deny:
    @if cargo deny --version >/dev/null 2>&1; then cargo deny --all-features check bans licenses sources; else echo "cargo-deny is not installed: dependencies go unchecked"; fi

unit:
    @if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace; else cargo test --workspace --lib --bins --tests; fi

doc-test:
    cargo test --workspace --doc

# Values that are stored compressed: the codecs are behind features.
compression:
    cargo test --features lz4,zstd --test it -- compress
    cargo test -p perennial-cli --features lz4,zstd --test it -- compress

# Each ends with an error where something is not as it says.
examples:
    cargo run --example durable
    cargo run --example typed
    cargo run --example read_through
    cargo run --example block_device
    cargo run --example numbered_files
    cargo run -p perennial-failpoints --example lab_toy_log
    cargo run -p perennial-failpoints --example lab_toy_log -- fixed
    cargo run -p perennial-failpoints --example torn_counter

# Every named fault site is reached, and a machine that stops at any of them recovers.
sites *ARGS:
    cargo test --features failpoints --test sites -- {{ ARGS }}
    cargo test --features failpoints --test lab -- far
    cargo test -p perennial-failpoints --features failpoints --lib site

# The crash suites: every crash state of small scripts, then processes that are killed. docs/testing.md says how far they go.
crash *ARGS:
    PERENNIAL_LAB="${PERENNIAL_LAB:-10}" cargo test --release --test lab -- --nocapture
    cargo test --release --test crash -- {{ ARGS }}

# The lab n times as far as `cargo test` goes, with all scripts of five steps from 100 on, and a million seeds of the model: just crash-long 100
crash-long n:
    PERENNIAL_LAB={{ n }} cargo test --release --test lab -- --nocapture
    PERENNIAL_SEEDS="${PERENNIAL_SEEDS:-1000000}" cargo test --release --test it -- model:: --nocapture

# Would the tests notice? Each planted bug must be caught; PERENNIAL_MUTANT=name,name hunts only those.
mutants *ARGS:
    cargo test --features planted-bugs,lz4,zstd --test lab mutants -- --nocapture {{ ARGS }}

# Would the unit tests of the pure code notice? Mutants by cargo-mutants, less than two hours; docs/testing.md lists who survives.
mutants-pure *ARGS:
    @if cargo mutants --version >/dev/null 2>&1; then cargo mutants -p perennial-wal -p perennial-recovery -j2 {{ ARGS }}; \
    else echo "!!! cargo-mutants is not installed (cargo install cargo-mutants --locked): NO mutant was tried !!!"; fi

# Every fuzz target for so many seconds, or those that are named: just fuzz 600 open_dir
fuzz seconds="60" *TARGETS:
    .ci/fuzz {{ seconds }} {{ TARGETS }}

# Every interleaving of the lock-free parts.
loom *ARGS:
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p perennial-wal --release --lib loom -- {{ ARGS }}

# The unsafe code under the interpreter.
miri *ARGS:
    @if cargo +nightly miri --version >/dev/null 2>&1; then cargo +nightly miri test -p perennial-wal --lib -- {{ ARGS }}; \
    else echo "!!! miri is absent (rustup toolchain install nightly --component miri,rust-src): the unsafe code was NOT interpreted !!!"; fi

# The log's threads under ThreadSanitizer, which comes with the stable toolchain. std is not instrumented: docs/testing.md.
tsan *ARGS:
    @if [[ "$(rustc -vV | sed -n 's/^host: //p')" == x86_64-unknown-linux-gnu ]]; then \
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=target/tsan \
    TSAN_OPTIONS="suppressions=$PWD/.ci/tsan-suppressions" \
    cargo test -p perennial-wal --lib --target x86_64-unknown-linux-gnu -- --test-threads=1 {{ ARGS }}; \
    else echo "!!! ThreadSanitizer is only tried on x86_64-unknown-linux-gnu: NOTHING was run under it !!!"; fi

# The log's code under random schedules.
shuttle *ARGS:
    RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test -p perennial-wal -p perennial --lib shuttle -- {{ ARGS }}

# Half a million schedules of the cache.
shuttle-long:
    SHUTTLE_SCHEDULES=125000 just shuttle

# Three hours, 40 GB below PERENNIAL_BENCH_DIR (target/bench/files). docs/benchmarks.md says what each line means. With words behind
# it, other benches: `just bench stall`: hits while every write hangs; `just bench get/`: a part of `cargo bench`.
# perennial beside its peers and the machine's limits.
bench *ARGS:
    @if [[ "{{ ARGS }}" == stall* ]]; then cargo run --release -p perennial-bench -- {{ ARGS }}; \
    elif [[ -n "{{ ARGS }}" ]]; then cargo bench --bench cache -- {{ ARGS }}; \
    else just bench-peers --json target/bench/run.json --html target/bench/run.html; fi

# The same with less of everything, within fifteen minutes; for finding one's way.
bench-quick:
    just bench-peers --quick --json target/bench/quick.json --html target/bench/quick.html

# A part of it: just bench-peers --only fill,miss --backends perennial,foyer --repeats 5 --quick
bench-peers *ARGS:
    mkdir -p target/bench "${PERENNIAL_BENCH_DIR:-target/bench/files}"
    just peers run --dir "${PERENNIAL_BENCH_DIR:-target/bench/files}" {{ ARGS }}

# What is wanted, held against a run: just bench-judge target/bench/run.json
bench-judge FILE:
    just peers judge {{ FILE }}

# RocksDB is the system's library, which `.ci/setup-bench` installs: to compile it takes an hour.
# The peers' command, as `just peers list`.
peers *ARGS: _peers_setup
    @{{ peers_env }} cargo build --release --manifest-path bench/peers/Cargo.toml --target-dir "{{ peers_target }}"
    @"{{ peers_target }}/release/perennial-peers" {{ ARGS }}

# Format, lints and tests of the peers' workspace, which `just test` leaves alone.
bench-check: _peers_setup
    cargo fmt --all --check --manifest-path bench/peers/Cargo.toml
    {{ peers_env }} cargo clippy --release --all-targets --manifest-path bench/peers/Cargo.toml --target-dir "{{ peers_target }}" -- -D warnings
    {{ peers_env }} cargo test --release --manifest-path bench/peers/Cargo.toml --target-dir "{{ peers_target }}"

_peers_setup:
    @.ci/setup-bench

peers_target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
peers_env := "env -u ROCKSDB_STATIC ROCKSDB_LIB_DIR=/usr/lib/" + arch() + "-linux-gnu ROCKSDB_INCLUDE_DIR=/usr/include"

# Instructions of one operation, path by path, exact on any machine: docs/performance.md. For example: just counts insert128
counts *PATHS:
    @if command -v valgrind >/dev/null; then .ci/counts {{ PATHS }}; \
    else echo "!!! valgrind is absent: NOTHING was counted !!!"; fi

# Paths beside bare comparisons, in turn; medians and their ratios: just ratios --only get-
ratios *ARGS:
    cargo run --release -p perennial-bench --bin perennial-counts -- --dir "${TMPDIR:-target}" ratios {{ ARGS }}

# Replay cache traces: docs/eviction.md says what the numbers mean. For example: just replay table DIR
replay *ARGS:
    cargo run --release -p perennial-bench -- {{ ARGS }}

# A hundred times its capacity through a cache, with 200 restarts, half of them kills: docs/benchmarks.md.
churn *ARGS:
    cargo run --release -p perennial-bench -- churn {{ ARGS }}

# A million random reads through `BlockCache` by threads, and as many by tasks, of an origin that does everything: docs/testing.md.
soak-blocks reads="1000000":
    PERENNIAL_BLOCK_READS={{ reads }} cargo test --release --features tokio --test blocks -- storm --nocapture --test-threads=1

# One cache on a real disk, with faults, restarts, kills and resizes, behind a million reads of `soak-blocks`: docs/testing.md. Five minutes
# and the compiling; at least a minute of it is the cache's. `PERENNIAL_SEED=n just soak` draws others.
# Everything at once, for so many seconds.
soak seconds="300":
    cargo test --release --features tokio --test blocks --test soak --no-run
    began=$SECONDS; just soak-blocks; left=$(({{ seconds }} - (SECONDS - began))); \
    PERENNIAL_SOAK_S=$((left > 60 ? left : 60)) cargo test --release --features tokio --test soak -- --nocapture

# Object stores behind real servers, moto and s3s-fs, which a script installs: docs/object-store.md. What is not there is left out, loudly.
s3 *ARGS:
    @.ci/setup-s3 || true
    cargo test -p perennial-object-store --features object_store_0_13 --test s3 -- --nocapture --test-threads=2 {{ ARGS }}

# Reads through the cache beside direct ones, of an S3 that answers after 50 ms: docs/benchmarks.md.
cold-warm *ARGS:
    @.ci/setup-s3 || true
    cargo run --release -p perennial-object-store --example cold_warm -- {{ ARGS }}

# DataFusion over Parquet on such an S3: cold, warm, killed, warm again. A workspace of its own; compiling takes a quarter of an hour.
datafusion *ARGS:
    @.ci/setup-s3 || true
    cargo run --release --manifest-path integrations/datafusion/Cargo.toml --target-dir "{{ peers_target }}" -- {{ ARGS }}

# Kill a process that fills a cache, again and again; see what is left.
demo *ARGS:
    cargo run --release --bin perennial -- demo {{ ARGS }}

# What a release must pass beyond `.ci/run`; a tool that is absent is named, loudly, and the status is 3 then.
release-check:
    @.ci/release-check

# The pages of docs/ as a book, in target/book.
book:
    @.ci/book

doc:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
