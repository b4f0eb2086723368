//! `Rig`: one operator with its outside systems, as the contract, the perturbation and the mutation see it.
//!
//! A new operator implements it in `rig/<operator>.rs`, and has a line in [`rigs!`](crate::rigs!), the only list of rigs.

mod ako;
mod directory;
mod page;
mod shelf;
mod vdo;
mod vm;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::Value;

pub use self::ako::{AkoRig, Guest, VcenterCloud};
pub use self::page::PageRig;
pub use self::shelf::ShelfRig;
pub use self::vdo::{Printed, VdoRig};
pub use self::vm::{VmRig, VmRigBuilder, group};
use crate::install::{Plane, Subject};
use crate::operator::{Launch, OperatorProcess};
use crate::site::Site;

/// The password of outside systems of rigs. It looks odd in every encoding that a log, a status or a SOAP body might use, and its first
/// characters are in no text by chance.
pub(crate) const PASSWORD: &str = "s3cr&t<\"Pa%ss\u{fc}";

/// Calls a macro with the name in commands and the type of each operator's rig.
#[macro_export]
macro_rules! rigs {
    ($what:ident) => {
        $what! { vm: VmRig, ako: AkoRig, vdo: VdoRig, page: PageRig, shelf: ShelfRig }
    };
}

/// What is done with a rig that a name chooses.
#[expect(async_fn_in_trait, reason = "as in Rig")]
pub trait Visitor {
    /// Does it.
    async fn visit<R: Rig>(self) -> Result<()>;
}

macro_rules! dispatch {
    ($($name:ident: $rig:ident),*) => {
        /// The names of all rigs in commands.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The operators of all rigs.
        pub(crate) const SUBJECTS: &[Subject] = &[$($rig::SUBJECT),*];

        /// Calls a visitor with the rig of this name.
        ///
        /// # Errors
        /// If there is none; the error lists those that exist.
        pub async fn with_rig(name: &str, visitor: impl Visitor) -> Result<()> {
            match name {
                $(stringify!($name) => visitor.visit::<$rig>().await,)*
                other => bail!("unknown operator {other}; use one of {}", NAMES.join(", ")),
            }
        }
    };
}

rigs!(dispatch);

/// Perturbed runs that have found something, so that they are always played.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// What went wrong.
    pub what: &'static str,
    /// The runs' names.
    pub runs: &'static [&'static str],
}

/// One operator with its outside systems, installed and not yet started.
#[expect(
    async_fn_in_trait,
    reason = "rigs run beside each other in one task, so their futures need not be Send"
)]
pub trait Rig: Sized {
    /// The operator.
    const SUBJECT: Subject;
    /// The main job in steps, by name: creates objects, changes them, and deletes them all. Where the last step has ended,
    /// nothing is left in the namespace or outside.
    const STEPS: &'static [&'static str];
    /// Faults of the outside system that pass, by name; see [`inject`](Rig::inject).
    const FAULTS: &'static [&'static str];
    /// Rights that are shipped although no request uses them: group, resource, verb.
    const UNUSED_RIGHTS: &'static [(&'static str, &'static str, &'static str)] = &[];
    /// A right whose absence the first object's Ready condition reports with the reason `KubernetesRefused`: group, resource, verb.
    const MISSED_RIGHT: (&'static str, &'static str, &'static str);
    /// Reasons of Ready conditions that pass by themselves: an object that has one has not come to rest.
    const PASSING: &'static [&'static str] = &[];
    /// What an object keeps that a new one with the same spec does not have, by the paths that `mutate` prints.
    const KEPT: &'static [&'static str] = &[];
    /// Reasons of objects that keep to an earlier spec than they have now: a new object with that spec may be answered otherwise.
    const KEEPS_EARLIER: &'static [&'static str] = &[];
    /// Reasons of a copy of an object that asks for something of which there is one, such as a port group of a name.
    const EXCLUSIVE: &'static [&'static str] = &[];
    /// Fields that no sample sets, as what they name cannot be had in a test.
    const UNSET: &'static [&'static str] = &[];
    /// Beginnings of places that an operator reads as those of another field, which a test tries: the command tries them as well.
    const ALIKE: &'static [&'static str] = &[];
    /// Whether a test tries one mutation or scenario of each field, as the kinds have too many; the command tries all.
    const MANY_FIELDS: bool = false;
    /// At one of how many places such a test also makes a new object with the value; at the others, it only changes one that exists.
    const NEW_OBJECTS: usize = 1;
    /// How many perturbed runs a test plays.
    const SAMPLE: usize = 40;
    /// Whether the number of the operator's calls depends on how fast others work, as Cluster API does: then a perturbed run may not get to
    /// the call that it names. Most have to.
    const CALLS_VARY: bool = false;
    /// Whether the operator makes secrets of its own in the steps before the last one; see [`generated`](Rig::generated).
    const GENERATES: bool = false;
    /// Kinds of others that have conditions of the operator.
    const REPORTS_ON: &'static [&'static str] = &[];
    /// Perturbed runs that have found something.
    const FOUND: &'static [Found] = &[];

    /// Starts new outside systems, and takes a namespace of a plane that is shared, or all of one that is not.
    async fn start_on(plane: Arc<Plane>) -> Result<Self>;

    /// Returns the rig's part of the plane.
    fn site(&self) -> &Site;

    /// Returns how the operator is started.
    fn launch(&self) -> Launch;

    /// Plays a step of the main job and waits until the operator has carried it out.
    async fn play(&self, step: &str) -> Result<()>;

    /// Makes the operator use each of its rights. Default: plays all steps.
    async fn exercise(&self) -> Result<()> {
        for step in Self::STEPS {
            self.play(step).await?;
        }
        Ok(())
    }

    /// Returns what exists outside, without what differs between two clean runs (ids, times, the namespace).
    async fn outside(&self) -> Result<BTreeMap<String, Value>>;

    /// Returns how often each thing was done outside so far: made, changed, removed. Default: nothing, where the outside systems
    /// keep no history; [`outside`](Rig::outside) then shows only what is left.
    async fn effects(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    /// Returns the calls that the outside systems have had so far, without those that keep a session open.
    async fn calls(&self) -> Result<BTreeMap<String, u64>>;

    /// Returns the violations of what must always hold outside, now and before.
    async fn violations(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Injects one of [`FAULTS`](Rig::FAULTS). It ends by itself.
    async fn inject(&self, fault: &str) -> Result<()>;

    /// Returns whether an injected fault has met a call.
    async fn has_fired(&self, fault: &str) -> Result<bool>;

    /// Returns whether a fault is of a call that changes something: what such a call carries may be in its error. Default: each is.
    #[must_use]
    fn is_of_change(_fault: &str) -> bool {
        true
    }

    /// Returns the texts that must not be in a log, an object, a metric or an argument.
    fn secrets(&self) -> Vec<String>;

    /// Returns the secrets that the operator has made by itself and that exist now. They are in Secrets, and nowhere else.
    async fn generated(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Returns valid objects of each kind that users create. Together they set every field of its spec.
    fn samples() -> Vec<Value>;

    /// Returns a sample as it is created in this rig: with an address that differs from rig to rig. Default: as it is.
    fn localized(&self, object: Value) -> Value {
        object
    }

    /// Returns how what exists outside differs from the spec of an object that is Ready; `None` if it does not.
    async fn mismatch(&self, object: &Value) -> Result<Option<String>>;

    /// Returns whether all that exists for a Ready object was made from its present spec. Where something of an earlier spec
    /// remains by design, the status says so and this is false.
    fn is_in_sync(&self, object: &Value) -> bool {
        let _ = object;
        true
    }

    /// Returns how the operator is started where objects come from a generator: like [`launch`](Rig::launch), with limits that
    /// make a huge request cheap.
    fn frugal_launch(&self) -> Launch {
        self.launch()
    }

    /// Starts the operator and waits until it is ready.
    async fn operator(&self) -> Result<OperatorProcess> {
        self.operator_with(&self.launch()).await
    }

    /// Starts the operator with other settings and waits until it is ready.
    async fn operator_with(&self, launch: &Launch) -> Result<OperatorProcess> {
        let mut operator = self.site().spawn(launch)?;
        operator.ready().await?;
        Ok(operator)
    }
}
