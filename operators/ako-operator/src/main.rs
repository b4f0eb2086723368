//! The ako-operator binary.

fn main() -> std::process::ExitCode {
    operator_kit::main::<ako_operator::AkoOperator>()
}
