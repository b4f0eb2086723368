//! Properties of objects: the filters that select them, the requests that read them once, and the decoding of
//! objects. Keeps no state; polls for changes are [`super::vms`]'s.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use vim_rs::types::structs::{
    ManagedObjectReference, ObjectSpec, PropertyFilterSpec, PropertySpec, SelectionSpec, TraversalSpec,
};
use vim_rs::types::traits::SelectionSpecTrait;

use super::error::{Error, Kind};
use super::moref::MoRef;
use super::session::Core;
use super::xml::{self, Node};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateKind {
    Enter,
    Modify,
    Leave,
}

/// What one answer says of one object: property paths with their values, `None` where vCenter has none.
#[derive(Debug)]
pub(super) struct ObjectUpdate {
    pub(super) kind: UpdateKind,
    pub(super) obj: MoRef,
    pub(super) properties: Vec<(String, Option<Node>)>,
}

impl ObjectUpdate {
    /// Returns what is known of an object that cannot be read: that it exists.
    pub(super) fn unread(moref: &MoRef) -> Self {
        Self { kind: UpdateKind::Enter, obj: moref.clone(), properties: Vec::new() }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.properties.iter().find(|(name, _)| name == path)?.1.as_ref()
    }

    /// Reads the property `name`, unescaped.
    pub(super) fn name(&self) -> String {
        self.get("name").map(Node::name).unwrap_or_default()
    }

    pub(super) fn moref(&self, path: &str) -> Option<MoRef> {
        self.get(path)?.moref()
    }
}

// === filters ===

/// Follows one property of one type, and from there the traversals named.
pub(super) fn traverse(name: &str, of: &str, path: &str, next: &[&str]) -> Box<dyn SelectionSpecTrait> {
    let next = next
        .iter()
        .map(|name| -> Box<dyn SelectionSpecTrait> {
            Box::new(SelectionSpec { name: Some((*name).to_owned()) })
        })
        .collect::<Vec<_>>();
    Box::new(TraversalSpec {
        selection_spec_: SelectionSpec { name: Some(name.to_owned()) },
        r#type: of.to_owned(),
        path: path.to_owned(),
        skip: Some(false),
        select_set: (!next.is_empty()).then_some(next),
    })
}

/// Selects properties of a type and its subtypes.
pub(super) fn properties(of: &str, paths: &[&str]) -> PropertySpec {
    PropertySpec {
        r#type: of.to_owned(),
        all: Some(false),
        path_set: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
    }
}

/// Selects an object, unless `skip`, and what is reached from it.
pub(super) fn object(
    obj: ManagedObjectReference,
    skip: bool,
    select: Vec<Box<dyn SelectionSpecTrait>>,
) -> ObjectSpec {
    ObjectSpec { obj, skip: Some(skip), select_set: (!select.is_empty()).then_some(select) }
}

/// Creates a filter that leaves out objects that do not exist, in place of failing.
pub(super) fn filter(prop_set: Vec<PropertySpec>, object_set: Vec<ObjectSpec>) -> PropertyFilterSpec {
    PropertyFilterSpec { prop_set, object_set, report_missing_objects_in_results: Some(true) }
}

// === requests ===

/// Most objects that are named in one call.
const NAMED: usize = 1000;

/// Reads these properties of objects of these kinds, with one call for each [`NAMED`]. A vCenter that refuses to read the others when one does not exist is
/// asked for halves.
pub(super) async fn read_existing(
    core: &Core,
    kinds: &[(&str, &[&str])],
    morefs: &[MoRef],
) -> Result<Vec<ObjectUpdate>, Error> {
    read_existing_within(core, Duration::MAX, kinds, morefs).await.map(|(objects, _)| objects)
}

/// As [`read_existing`], where each answer has to come within this time; returns when the first was asked for as well.
pub(super) async fn read_existing_within(
    core: &Core,
    deadline: Duration,
    kinds: &[(&str, &[&str])],
    morefs: &[MoRef],
) -> Result<(Vec<ObjectUpdate>, Instant), Error> {
    let (mut read, mut since) = (Vec::new(), None);
    let mut parts: Vec<&[MoRef]> = morefs.chunks(NAMED).collect();
    while let Some(part) = parts.pop() {
        let objects = part.iter().map(|moref| object(moref.to_vim(), false, Vec::new())).collect();
        let selected = kinds.iter().map(|(of, paths)| properties(of, paths)).collect();
        match core.retrieve_within(deadline, &filter(selected, objects)).await {
            Ok((objects, sent)) => {
                read.extend(objects);
                since.get_or_insert(sent);
            }
            Err(error) if error.is_object_missing() && part.len() > 1 => {
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([right, left]);
            }
            Err(error) if error.is_object_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((read, since.unwrap_or_else(Instant::now)))
}

/// Most calls at a time that ask for objects that an answer does not have.
const EXISTENCE_CALLS: usize = 8;

/// Returns those of the objects that exist although an answer of [`read_existing`] does not have them, with one call for each, which may take
/// what is `left` when it is made. They are hidden: nothing more is known of them.
pub(super) async fn hidden(
    core: &Core,
    left: impl Fn() -> Duration,
    absent: Vec<MoRef>,
) -> Result<Vec<MoRef>, Error> {
    stream::iter(absent)
        .map(async |moref| exists(core, left(), &moref).await.map(|exists| exists.then_some(moref)))
        .buffer_unordered(EXISTENCE_CALLS)
        .try_filter_map(async |hidden| Ok(hidden))
        .try_collect()
        .await
}

/// Returns whether an object exists that an answer of [`read_existing`] does not have. It may be hidden: a vCenter that does not say that it
/// has no such object shows nothing of those on which the account lacks the privilege System.View. The call may take so long.
pub(super) async fn exists(core: &Core, deadline: Duration, moref: &MoRef) -> Result<bool, Error> {
    let named = object(moref.to_vim(), false, Vec::new());
    let one = filter(vec![properties(moref.kind(), &[])], vec![named]);
    let strict = PropertyFilterSpec { report_missing_objects_in_results: Some(false), ..one };
    match core.retrieve_within(deadline, &strict).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_object_missing() => Ok(false),
        Err(error) if error.kind() == Kind::Forbidden => Ok(true),
        Err(error) => Err(error),
    }
}

// === answers ===

/// Reads the answer of a RetrievePropertiesEx object by object; returns the token of the next page, if any.
pub(super) fn read_objects(xml: &str, mut each: impl FnMut(ObjectUpdate)) -> Result<Option<String>, Error> {
    let mut token = None;
    xml::each(
        xml,
        |tag| matches!(tag, "objects" | "token"),
        |node| {
            match node.tag.as_str() {
                "token" => token = Some(node.text),
                _ => each(read_object(node)?),
            }
            Ok(())
        },
    )?;
    Ok(token)
}

/// Reads an `ObjectContent` or an `ObjectUpdate`.
pub(super) fn read_object(node: Node) -> Result<ObjectUpdate, Error> {
    let (mut obj, mut kind, mut properties) = (None, UpdateKind::Enter, Vec::new());
    for mut child in node.children {
        match child.tag.as_str() {
            "obj" => obj = child.moref(),
            "kind" => {
                kind = match child.text.as_str() {
                    "modify" => UpdateKind::Modify,
                    "leave" => UpdateKind::Leave,
                    _ => UpdateKind::Enter,
                }
            }
            // PropertyChange and DynamicProperty; without a value the property is unset.
            "changeSet" | "propSet" => {
                let name = child.child("name").map(|name| name.text.clone()).unwrap_or_default();
                let value = child.children.iter().position(|value| value.tag == "val");
                properties.push((name, value.map(|at| child.children.swap_remove(at))));
            }
            "missingSet" => {
                check_missing(&child)?;
                properties
                    .push((child.child("path").map(|path| path.text.clone()).unwrap_or_default(), None));
            }
            _ => {}
        }
    }
    let obj = obj.ok_or_else(|| Error::new(Kind::Protocol, "an object without a reference"))?;
    Ok(ObjectUpdate { kind, obj, properties })
}

/// Fails if something is missing because the session has ended: vCenter may report that with HTTP 200.
pub(super) fn check_missing(node: &Node) -> Result<(), Error> {
    match node.child("fault").map(Node::localized_fault) {
        Some(fault) if fault.name == "NotAuthenticated" => Err(Error::of_fault(fault)),
        _ => Ok(()),
    }
}
