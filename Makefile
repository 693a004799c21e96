# The two commands that everything starts with; `cargo xtask` has the rest.

# `make run ARGS="--to http://127.0.0.1:8000"`
ARGS ?=
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run test setup bench battery lab

run:
	cargo build --release --locked --package clearway
	@exec $(target)/release/clearway up $(ARGS)

# Installs what the tests need, then runs everything a change must pass.
test: setup
	@cargo xtask ci

setup:
	@tests/setup.sh smoke

# What Clearway costs beside other proxies: docs/benchmarks.md. Takes most of an hour, on a quiet machine.
bench:
	@tests/setup.sh bench
	@cargo xtask bench

# What happens to requests when servers fail, beside other proxies: docs/battery.md. Takes half an hour.
battery:
	@tests/setup.sh bench
	@cargo xtask battery

# Whether the doctor finds what was broken in real stacks: docs/accuracy.md. Takes a quarter of an hour, as root.
lab:
	@tests/setup.sh lab
	@cargo xtask lab judge --write
