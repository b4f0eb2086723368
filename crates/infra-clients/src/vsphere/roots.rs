//! What a server says of itself: its root objects, and which vCenter it is.

use std::sync::Arc;

use super::error::{Error, Kind};
use super::moref::MoRef;
use super::xml::{self, Node};

/// The root objects that every vCenter has.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) folder: MoRef,
    pub(super) collector: MoRef,
    pub(super) views: MoRef,
    pub(super) tasks: MoRef,
    pub(super) sessions: MoRef,
    /// Answers which privileges an account has.
    pub(super) authorization: Option<MoRef>,
    /// `about.instanceUuid`: which vCenter it is. One that is restored from its backup, or upgraded, keeps it.
    pub(super) vcenter: Arc<str>,
    /// `about.fullName`: name and version of the product.
    pub(super) product: Option<Arc<str>>,
}

impl Roots {
    /// Reads the answer of `RetrieveServiceContent`.
    pub(super) fn read(answer: &str) -> Result<Self, Error> {
        let content = xml::first(answer, "returnval")?.unwrap_or_default();
        let root = |name: &str| {
            content.child(name).and_then(Node::moref).ok_or_else(|| {
                Error::new(Kind::Protocol, format!("the server has no {name}: it is not a vCenter"))
            })
        };
        let about = |name| content.child("about")?.child(name).map(|node| node.text.as_str());
        let known = |name| about(name).filter(|text| !text.is_empty()).map(Arc::from);
        Ok(Self {
            // Without it, whatever a status names might be here.
            vcenter: known("instanceUuid").ok_or_else(|| {
                Error::new(Kind::Protocol, "the server names no instanceUuid: it is not a vCenter")
            })?,
            product: known("fullName"),
            authorization: content.child("authorizationManager").and_then(Node::moref),
            folder: root("rootFolder")?,
            collector: root("propertyCollector")?,
            views: root("viewManager")?,
            tasks: root("taskManager")?,
            sessions: root("sessionManager")?,
        })
    }
}
