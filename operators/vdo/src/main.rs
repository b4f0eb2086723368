//! The vdo binary.

fn main() -> std::process::ExitCode {
    operator_kit::main::<vdo::Vdo>()
}
