//! What the property collector is asked and what it answers. Owns the filters, the request bodies
//! the generated bindings keep private, and the decoding of objects; keeps no state.

use std::borrow::Cow;

use miniserde::ser::{Fragment, Map, Serialize};
use vim_rs::types::structs::{
    ManagedObjectReference, ObjectSpec, PropertyFilterSpec, PropertySpec, SelectionSpec, TraversalSpec,
};
use vim_rs::types::traits::SelectionSpecTrait;

use super::error::{Error, Kind};
use super::moref::MoRef;
use super::soap::Body;
use super::xml::{self, Node};

/// Objects in one answer of the collector. More would only make the peak of memory higher.
const PAGE: i32 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateKind {
    Enter,
    Modify,
    Leave,
}

/// One object's news: property paths with their values, `None` where vCenter has none.
#[derive(Debug)]
pub(super) struct ObjectUpdate {
    pub(super) kind: UpdateKind,
    pub(super) obj: MoRef,
    pub(super) properties: Vec<(String, Option<Node>)>,
}

impl ObjectUpdate {
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.properties.iter().find(|(name, _)| name == path)?.1.as_ref()
    }

    /// The property `name`, unescaped.
    pub(super) fn name(&self) -> String {
        self.get("name").map(Node::name).unwrap_or_default()
    }

    pub(super) fn moref(&self, path: &str) -> Option<MoRef> {
        self.get(path)?.moref()
    }
}

// === requests ===

/// A request body or data object by its type name and fields, in the order of the schema.
pub(super) struct Fields<'a> {
    pub(super) type_name: &'static str,
    pub(super) fields: Vec<(&'static str, &'a (dyn Serialize + Send + Sync))>,
}

impl Serialize for Fields<'_> {
    fn begin(&self) -> Fragment<'_> {
        Fragment::Map(Box::new(FieldsMap { fields: self, at: 0 }))
    }
}

struct FieldsMap<'b, 'a> {
    fields: &'b Fields<'a>,
    at: usize,
}

impl Map for FieldsMap<'_, '_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        let at = self.at;
        self.at += 1;
        let Some(field) = at.checked_sub(1) else {
            return Some((Cow::Borrowed("_typeName"), &self.fields.type_name));
        };
        self.fields.fields.get(field).map(|(name, value)| (Cow::Borrowed(*name), *value as &dyn Serialize))
    }
}

/// A string where the schema has `anyType`.
pub(super) struct AnyString<'a>(pub(super) &'a str);

impl Serialize for AnyString<'_> {
    fn begin(&self) -> Fragment<'_> {
        Fragment::Map(Box::new(AnyStringMap(self.0, 0)))
    }
}

struct AnyStringMap<'a>(&'a str, usize);

impl Map for AnyStringMap<'_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        self.1 += 1;
        match self.1 {
            1 => Some((Cow::Borrowed("_typeName"), &"string")),
            2 => Some((Cow::Borrowed("_value"), &self.0)),
            _ => None,
        }
    }
}

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

pub(super) fn properties(of: &str, paths: &[&str]) -> PropertySpec {
    PropertySpec {
        r#type: of.to_owned(),
        all: Some(false),
        path_set: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
    }
}

/// An object and what is reached from it.
pub(super) fn object(
    obj: ManagedObjectReference,
    skip: bool,
    select: Vec<Box<dyn SelectionSpecTrait>>,
) -> ObjectSpec {
    ObjectSpec { obj, skip: Some(skip), select_set: (!select.is_empty()).then_some(select) }
}

pub(super) fn filter(prop_set: Vec<PropertySpec>, object_set: Vec<ObjectSpec>) -> PropertyFilterSpec {
    PropertyFilterSpec { prop_set, object_set, report_missing_objects_in_results: Some(true) }
}

const TASK_PATHS: &[&str] =
    &["info.state", "info.descriptionId", "info.entity", "info.queueTime", "info.result", "info.error"];

const VM_PATHS: &[&str] = &[
    "name",
    "parent",
    "runtime.powerState",
    "runtime.connectionState",
    "config.instanceUuid",
    "config.extraConfig",
];

/// The one filter: everything in the view, the root folder itself, and every recent task.
pub(super) fn watch_filter(
    view: ManagedObjectReference,
    root: ManagedObjectReference,
    task_manager: ManagedObjectReference,
) -> PropertyFilterSpec {
    filter(
        vec![
            properties("VirtualMachine", VM_PATHS),
            properties("Folder", &["name", "parent", "childEntity"]),
            properties("Task", TASK_PATHS),
        ],
        vec![
            object(root, false, Vec::new()),
            object(view, true, vec![traverse("view", "ContainerView", "view", &[])]),
            object(task_manager, true, vec![traverse("tasks", "TaskManager", "recentTask", &[])]),
        ],
    )
}

/// These tasks, to be read once.
pub(super) fn tasks_filter(tasks: &[MoRef]) -> PropertyFilterSpec {
    filter(
        vec![properties("Task", TASK_PATHS)],
        tasks.iter().map(|task| object(task.to_vim(), false, Vec::new())).collect(),
    )
}

/// This VM, to be read once.
pub(super) fn vm_filter(vm: &MoRef) -> PropertyFilterSpec {
    filter(vec![properties("VirtualMachine", VM_PATHS)], vec![object(vm.to_vim(), false, Vec::new())])
}

/// The body of a WaitForUpdatesEx that waits at most so many seconds for something to tell.
pub(super) fn wait_request(collector: &MoRef, version: &str, max_wait: i32) -> Body {
    let options = Fields {
        type_name: "WaitOptions",
        fields: vec![("maxWaitSeconds", &max_wait), ("maxObjectUpdates", &PAGE)],
    };
    let fields = vec![("version", &version as _), ("options", &options as _)];
    Body::new(
        "WaitForUpdatesEx",
        collector,
        Some(&Fields { type_name: "WaitForUpdatesExRequestType", fields }),
    )
}

/// The body of a RetrievePropertiesEx for the first page of so many objects.
pub(super) fn retrieve_request(collector: &MoRef, filter: &PropertyFilterSpec, page: i32) -> Body {
    let options = Fields { type_name: "RetrieveOptions", fields: vec![("maxObjects", &page)] };
    let fields = vec![("specSet", filter as _), ("options", &options as _)];
    Body::new(
        "RetrievePropertiesEx",
        collector,
        Some(&Fields { type_name: "RetrievePropertiesExRequestType", fields }),
    )
}

/// The body that asks for the page after.
pub(super) fn continue_request(collector: &MoRef, token: &str) -> Body {
    let fields = vec![("token", &token as _)];
    let params = Fields { type_name: "ContinueRetrievePropertiesExRequestType", fields };
    Body::new("ContinueRetrievePropertiesEx", collector, Some(&params))
}

// === answers ===

/// What a WaitForUpdatesEx said beside the objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// To be given to the next call.
    pub(super) version: String,
    /// Whether there is more to fetch at once.
    pub(super) truncated: bool,
}

/// Reads the answer of a WaitForUpdatesEx object by object; `None` if there was nothing to tell.
/// A session that ended can show as properties missing for that reason, which is an error here.
pub(super) fn read_updates(xml: &str, mut each: impl FnMut(ObjectUpdate)) -> Result<Option<Page>, Error> {
    let (mut version, mut truncated) = (None, false);
    xml::each(
        xml,
        |tag| matches!(tag, "objectSet" | "missingObjects" | "version" | "truncated"),
        |node| {
            match node.tag.as_str() {
                "version" => version = Some(node.text),
                "truncated" => truncated = matches!(node.text.as_str(), "true" | "1"),
                "missingObjects" => check_missing(&node)?,
                _ => each(read_object(node)?),
            }
            Ok(())
        },
    )?;
    Ok(version.map(|version| Page { version, truncated }))
}

/// Reads the answer of a RetrievePropertiesEx object by object; the token of the next page, if any.
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

fn read_object(node: Node) -> Result<ObjectUpdate, Error> {
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

fn check_missing(node: &Node) -> Result<(), Error> {
    match node.child("fault").map(Node::localized_fault) {
        Some(fault) if fault.name == "NotAuthenticated" => Err(Error::of_fault(fault)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="s"><soapenv:Body><WaitForUpdatesExResponse xmlns="urn:vim25">
        <returnval><version>7</version><filterSet><filter type="PropertyFilter">f-1</filter>
        <objectSet><kind>enter</kind><obj type="VirtualMachine">vm-1</obj>
          <changeSet><name>name</name><op>assign</op><val xsi:type="xsd:string">a%2fb</val></changeSet>
          <changeSet><name>config.instanceUuid</name><op>assign</op></changeSet>
          <missingSet><path>parent</path><fault><fault xsi:type="NoPermission"/></fault></missingSet></objectSet>
        <objectSet><kind>leave</kind><obj type="Task">task-1</obj></objectSet>
        </filterSet><truncated>true</truncated></returnval></WaitForUpdatesExResponse></soapenv:Body></soapenv:Envelope>"#;

    #[test]
    fn reads_a_page_of_updates() {
        let mut updates = Vec::new();
        let page = read_updates(ANSWER, |update| updates.push(update)).unwrap();
        assert_eq!(page, Some(Page { version: "7".into(), truncated: true }));
        assert_eq!((updates[0].kind, updates[0].name().as_str()), (UpdateKind::Enter, "a/b"));
        assert_eq!(updates[0].properties.len(), 3);
        assert_eq!((updates[1].kind, &updates[1].obj), (UpdateKind::Leave, &MoRef::new("Task", "task-1")));
    }

    #[test]
    fn nothing_to_tell() {
        assert_eq!(read_updates("<a><WaitForUpdatesExResponse/></a>", |_| panic!()).unwrap(), None);
    }

    #[test]
    fn a_dead_session_among_the_missing_is_an_error() {
        let answer = ANSWER.replace("NoPermission", "NotAuthenticated");
        assert_eq!(read_updates(&answer, |_| {}).unwrap_err().kind(), Kind::Unauthorized);
    }
}
