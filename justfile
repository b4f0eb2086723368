# The commands are `cargo xtask …`; these are only shorter. `just` alone lists them.
default:
    @just --list

# Every check CI runs; with names, only those: `just test fmt clippy`
test *steps:
    cargo xtask test {{ steps }}

# Formatting, lints, docs, licences: everything but the tests
lint:
    cargo xtask lint

# A control plane, a vCenter simulator and the vm-operator, shown at work; `just demo --keep` leaves them running
demo *args:
    cargo xtask demo {{ args }}

# The figures in docs/benchmarks.md
bench *args:
    cargo xtask bench {{ args }}

# Writes the generated files under deploy/
generate *args:
    cargo xtask generate {{ args }}
