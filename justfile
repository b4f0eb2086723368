# Short names for the commands of `cargo xtask`. `just` without arguments lists them.
default:
    @just --list

# Runs all checks of CI, or the named ones: `just test fmt clippy`
test *steps:
    cargo xtask test {{ steps }}

# Runs the checks without Rust tests
lint:
    cargo xtask lint

# Runs vm-operator with a control plane and a vCenter simulator; `just demo --keep` keeps them running
demo *args:
    cargo xtask demo {{ args }}

# Measures the figures in docs/benchmarks.md
bench *args:
    cargo xtask bench {{ args }}

# Writes the generated files under deploy/
generate *args:
    cargo xtask generate {{ args }}
