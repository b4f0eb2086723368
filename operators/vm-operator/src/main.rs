//! The vm-operator binary.

fn main() -> std::process::ExitCode {
    operator_kit::main::<vm_operator::VmOperator>()
}
