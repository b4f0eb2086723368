//! The power states of a VM. Owns their wire form.

/// `VirtualMachine.runtime.powerState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum PowerState {
    On,
    Off,
    Suspended,
}

impl PowerState {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "poweredOn" => Some(Self::On),
            "poweredOff" => Some(Self::Off),
            "suspended" => Some(Self::Suspended),
            _ => None,
        }
    }
}
