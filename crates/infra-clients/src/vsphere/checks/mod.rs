//! What a check of a cluster needs to know of its vCenter: versions, the clock, what the account may, machines, hosts, datastores, tags and
//! storage policies.
//!
//! Only reads, and keeps nothing. Each question is one call for all objects, or one for each thousand. Judges nothing: the caller knows what
//! its cluster needs.

mod hosts;
mod machines;
mod rest;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use vim_rs::types::structs::ManagedObjectReference;

pub use hosts::{Datastore, Host, shared};
pub use machines::{Brief, Datacenter, Machine, Nic};
pub use rest::{Services, Tag};

use super::clock;
use super::error::{Error, Kind};
use super::moref::MoRef;
use super::session::Session;
use super::soap::Call;
use super::xml;

/// Most objects whose privileges one call asks for.
const ASKED: usize = 1000;

/// The questions to a vCenter. Clones share the session.
#[derive(Debug, Clone)]
pub struct Checks {
    session: Session,
}

/// What a vCenter says of its release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Version, such as `8.0.3`.
    pub version: String,
    /// Version of its API, such as `8.0.3.0`.
    pub api_version: String,
    /// Build, such as `24022515`.
    pub build: String,
}

impl Checks {
    /// Creates a client that works with this session.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// Returns the release of the vCenter, which changes when it is upgraded.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn about(&self) -> Result<About, Error> {
        let this = MoRef::new("ServiceInstance", "ServiceInstance");
        let call = Call::new("RetrieveServiceContent", &this);
        let answer = self.session.core().call(&call).await?;
        let about =
            xml::first(&answer, "about").map_err(|error| call.not_understood(error))?.unwrap_or_default();
        let text = |name| about.child(name).map(|node| node.text.clone()).unwrap_or_default();
        Ok(About { version: text("version"), api_version: text("apiVersion"), build: text("build") })
    }

    /// Returns how far the clock of the vCenter is ahead of this machine's; negative: behind.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn clock(&self) -> Result<SignedDuration, Error> {
        clock::ahead(self.session.core()).await
    }

    /// Returns which of the privileges, such as `Datastore.FileManagement`, the account lacks on which of the objects, by the vCenter's own
    /// query: objects on which it lacks none are left out.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if one of the objects does not exist.
    pub async fn missing_privileges(
        &self,
        objects: &[MoRef],
        privileges: &[&str],
    ) -> Result<BTreeMap<MoRef, Vec<String>>, Error> {
        let core = self.session.core();
        let manager = core.roots().await?.authorization.clone();
        let manager = manager
            .ok_or_else(|| Error::new(Kind::NotSupported, "the server has no authorizationManager"))?;
        if core.user().is_none() {
            // The name of the account is known once it has logged in.
            self.clock().await?;
        }
        let user =
            core.user().ok_or_else(|| Error::new(Kind::Protocol, "the vCenter does not name the account"))?;
        let mut missing = BTreeMap::new();
        for part in objects.chunks(ASKED) {
            let entities: Vec<ManagedObjectReference> = part.iter().map(MoRef::to_vim).collect();
            let (user, privileges) = (&*user, privileges.to_vec());
            let call = Call::new("HasUserPrivilegeOnEntities", &manager)
                .with("entities", &entities)
                .with("userName", &user)
                .with("privId", &privileges);
            let answer = core.call(&call).await?;
            xml::each(
                &answer,
                |tag| tag == "returnval",
                |of| {
                    let lacks: Vec<String> = of
                        .children
                        .iter()
                        .filter(|child| {
                            child.child("isGranted").is_some_and(|granted| granted.text == "false")
                        })
                        .filter_map(|child| Some(child.child("privId")?.text.clone()))
                        .collect();
                    if let Some(entity) =
                        of.child("entity").and_then(xml::Node::moref).filter(|_| !lacks.is_empty())
                    {
                        missing.insert(entity, lacks);
                    }
                    Ok(())
                },
            )
            .map_err(|error| call.not_understood(error))?;
        }
        Ok(missing)
    }

    /// Returns the root folder, on which an account has what it may in the whole vCenter.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn root(&self) -> Result<MoRef, Error> {
        Ok(self.session.core().roots().await?.folder.clone())
    }
}
