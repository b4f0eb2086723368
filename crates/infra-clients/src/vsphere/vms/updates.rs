//! What the property collector is asked about VMs and what it answers. Owns the filters, the poll and its decoding;
//! keeps no state.

use std::time::{Duration, Instant};

use vim_rs::types::structs::PropertyFilterSpec;

use crate::vsphere::error::Error;
use crate::vsphere::moref::MoRef;
use crate::vsphere::properties::{
    ObjectUpdate, check_missing, filter, object, properties, read_existing, read_existing_within,
    read_object, traverse,
};
use crate::vsphere::session::Core;
use crate::vsphere::task::TASK_PATHS;
use crate::vsphere::xml;

/// Objects in one answer of the collector. More would only make the peak of memory higher.
pub(super) const PAGE: i32 = 100;

const VM_PATHS: &[&str] = &[
    "name",
    "parent",
    "runtime.powerState",
    "runtime.connectionState",
    "config.template",
    "config.instanceUuid",
    "config.extraConfig",
];

/// Selects what is watched: everything in the view, the root folder itself, and every recent task. The view is reported as well: one that does not exist
/// shows nothing, and no error.
pub(super) fn watch_filter(view: &MoRef, root: &MoRef, task_manager: &MoRef) -> PropertyFilterSpec {
    filter(
        vec![
            properties("VirtualMachine", VM_PATHS),
            properties("Folder", &["name", "parent", "childEntity"]),
            properties("Task", TASK_PATHS),
            properties("ContainerView", &["container"]),
        ],
        vec![
            object(root.to_vim(), false, Vec::new()),
            object(view.to_vim(), false, vec![traverse("view", "ContainerView", "view", &[])]),
            object(task_manager.to_vim(), true, vec![traverse("tasks", "TaskManager", "recentTask", &[])]),
        ],
    )
}

const ONCE: &[(&str, &[&str])] = &[("VirtualMachine", VM_PATHS), ("Folder", &["name", "parent"])];

/// Reads these VMs once, and the names and parents of these folders; what does not exist is left out.
pub(super) async fn read_once(core: &Core, objects: &[MoRef]) -> Result<Vec<ObjectUpdate>, Error> {
    read_existing(core, ONCE, objects).await
}

/// As [`read_once`], where each answer has to come within this time; returns when the first was asked for as well.
pub(super) async fn read_once_within(
    core: &Core,
    deadline: Duration,
    objects: &[MoRef],
) -> Result<(Vec<ObjectUpdate>, Instant), Error> {
    read_existing_within(core, deadline, ONCE, objects).await
}

/// Returns how many objects are in a folder, 0 if it does not exist.
pub(super) async fn read_children(core: &Core, folder: &MoRef) -> Result<usize, Error> {
    let read = read_existing(core, &[("Folder", &["childEntity"])], std::slice::from_ref(folder)).await?;
    let children = read.iter().filter_map(|folder| folder.get("childEntity"));
    Ok(children.map(|children| children.children.len()).sum())
}

/// What the answer to a poll says beside the objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// To be given to the next poll.
    pub(super) version: String,
    /// Whether there is more to read at once.
    pub(super) truncated: bool,
}

/// Reads the answer to a poll object by object; `None` if nothing has changed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vsphere::error::Kind;
    use crate::vsphere::properties::UpdateKind;

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

    /// As a search of datastores has it: more elements than one object may have.
    #[test]
    fn the_result_of_a_task_that_is_no_reference_is_not_read() {
        let files = "<file><path>a</path></file>".repeat(200_000);
        let change = |name: &str, value: &str| {
            format!("<changeSet><name>{name}</name><op>assign</op>{value}</changeSet>")
        };
        let object = |id: &str, changes: &str| {
            format!(r#"<objectSet><kind>enter</kind><obj type="Task">{id}</obj>{changes}</objectSet>"#)
        };
        let search = change(
            "info.result",
            &format!(r#"<val xsi:type="ArrayOfSearchResults"><val>{files}</val></val>"#),
        );
        let clone = change(
            "info.result",
            r#"<val type="VirtualMachine" xsi:type="ManagedObjectReference">vm-1</val>"#,
        );
        let state = change("info.state", r#"<val xsi:type="TaskInfoState">success</val>"#);
        let objects = [object("task-1", &format!("{search}{state}")), object("task-2", &clone)].concat();
        let answer = format!("<r><version>1</version>{objects}</r>");
        let mut updates = Vec::new();
        read_updates(&answer, |update| updates.push(update)).unwrap();
        assert_eq!(updates[0].get("info.result").unwrap().children, []);
        assert_eq!(updates[0].get("info.state").unwrap().text, "success");
        assert_eq!(
            updates[1].get("info.result").unwrap().moref(),
            Some(MoRef::new("VirtualMachine", "vm-1"))
        );
    }

    #[test]
    fn an_answer_without_changes() {
        let answer = "<a><WaitForUpdatesExResponse/></a>";
        assert_eq!(read_updates(answer, |_| panic!("there is none")).unwrap(), None);
    }

    #[test]
    fn a_session_that_ended_is_an_error_though_it_is_only_among_what_is_missing() {
        let answer = ANSWER.replace("NoPermission", "NotAuthenticated");
        assert_eq!(read_updates(&answer, |_| {}).unwrap_err().kind(), Kind::SessionEnded);
    }
}
