//! References to vCenter's objects. Owns their text form; never reads an object.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use vim_rs::types::enums::MoTypesEnum;
use vim_rs::types::structs::ManagedObjectReference;

/// A managed object reference, such as `VirtualMachine:vm-12`. Cheap to clone. Unique within one vCenter, which does
/// not use it again when the object is gone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MoRef(Arc<str>);

impl MoRef {
    /// Creates a reference from its two parts.
    #[must_use]
    pub fn new(kind: &str, value: &str) -> Self {
        Self(format!("{kind}:{value}").into())
    }

    /// Returns the managed object type, `VirtualMachine`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// Returns the id, `vm-12`.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }

    /// Returns both parts, `VirtualMachine:vm-12`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form that the generated bindings take.
    pub(super) fn to_vim(&self) -> ManagedObjectReference {
        ManagedObjectReference { r#type: MoTypesEnum::from_str(self.kind()), value: self.value().to_owned() }
    }
}

/// The text is not `Type:id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a managed object reference is written Type:id, such as VirtualMachine:vm-12")]
pub struct ParseMoRefError;

impl FromStr for MoRef {
    type Err = ParseMoRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Ok(Self(text.into())),
            _ => Err(ParseMoRefError),
        }
    }
}

impl fmt::Display for MoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for MoRef {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let vm = MoRef::new("VirtualMachine", "vm-12");
        assert_eq!(vm.to_string().parse::<MoRef>().unwrap(), vm);
        assert_eq!((vm.kind(), vm.value()), ("VirtualMachine", "vm-12"));
        for bad in ["", "vm-12", ":vm-12", "VirtualMachine:"] {
            assert_eq!(bad.parse::<MoRef>(), Err(ParseMoRefError), "{bad}");
        }
    }
}
