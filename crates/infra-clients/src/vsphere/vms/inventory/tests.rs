use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::answers::{ANSWER_KEPT, CONFIRMED_LIFE, OUTSIDE_LIFE};
use super::*;
use crate::vsphere::properties::{ObjectUpdate, UpdateKind};
use crate::vsphere::xml::{self, Node};
use crate::vsphere::{PowerState, TaskState};

/// The value of a property, written as vCenter writes it.
fn value(xml: &str) -> Option<Node> {
    xml::first(&format!("<val {xml}</val>"), "val").unwrap()
}

fn text(text: &str) -> Option<Node> {
    value(&format!(">{}", quick_xml::escape::escape(text)))
}

fn moref(kind: &str, id: &str) -> Option<Node> {
    value(&format!("type=\"{kind}\">{id}"))
}

fn options(entries: &[(&str, &str)]) -> Option<Node> {
    let escape = |text: &str| quick_xml::escape::escape(text).into_owned();
    let option = |(key, value): &(&str, &str)| {
        format!("<o><key>{}</key><value>{}</value></o>", escape(key), escape(value))
    };
    value(&format!(">{}", entries.iter().map(option).collect::<String>()))
}

fn update(kind: UpdateKind, obj: &MoRef, properties: Vec<(&str, Option<Node>)>) -> ObjectUpdate {
    let properties = properties.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
    ObjectUpdate { kind, obj: obj.clone(), properties }
}

fn vm(id: &str) -> MoRef {
    MoRef::new("VirtualMachine", id)
}

fn task(id: &str) -> MoRef {
    MoRef::new("Task", id)
}

fn received(changes: &mut Changes) -> Vec<Change> {
    std::iter::from_fn(|| changes.0.try_recv().ok()).collect()
}

/// No poll has seen the folder: no update will say that it is gone.
#[test]
fn a_folder_that_was_created_and_removed_between_two_polls_is_gone() {
    let (root, folder, now) = (MoRef::new("Folder", "r"), MoRef::new("Folder", "f"), Instant::now());
    for answer_first in [true, false] {
        let mut inventory = Inventory::new(String::new());
        inventory.set_root(root.clone());
        inventory.folder_created(&folder, "f", &root, now);
        assert!(inventory.folder_named("f").is_some());
        let mut steps = [true, false];
        if !answer_first {
            steps.reverse();
        }
        for answer in steps {
            assert!(inventory.folder(&folder).is_some());
            if answer {
                inventory.removal_submitted(&task("1"), &folder, now);
            } else {
                inventory.apply(&reported(UpdateKind::Enter, "1", "success", "us"), now);
            }
        }
        assert!(inventory.folder(&folder).is_none() && inventory.folder_named("f").is_none());
    }
}

/// An update of a VM that was never reported was preceded by one that was lost: nothing is made up from it.
#[test]
fn a_change_of_an_unknown_object_asks_for_a_complete_report() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    inventory.apply(&update(UpdateKind::Modify, &vm("1"), vec![("name", text("a"))]), now);
    assert!(inventory.vms().next().is_none() && inventory.is_incomplete());
    inventory.begin_baseline();
    inventory.apply(&update(UpdateKind::Enter, &vm("1"), vec![("name", text("a"))]), now);
    inventory.end_baseline(now);
    assert!(!inventory.is_incomplete() && inventory.vm(&vm("1")).is_some());
    inventory.apply(&update(UpdateKind::Modify, &task("1"), vec![("info.state", text("running"))]), now);
    assert!(inventory.task(&task("1")).is_none() && !inventory.is_incomplete());
}

#[test]
fn an_object_that_a_fault_says_is_missing_is_removed_and_reported() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    let folder = MoRef::new("Folder", "f");
    inventory.apply(&update(UpdateKind::Enter, &vm("1"), vec![("name", text("a"))]), now);
    inventory.apply(&update(UpdateKind::Enter, &folder, vec![("name", text("f"))]), now);
    let mut changes = inventory.subscribe();
    inventory.remove_missing(&vm("1"));
    inventory.remove_missing(&vm("2"));
    inventory.remove_missing(&folder);
    let changes = received(&mut changes);
    assert!(
        matches!(changes.as_slice(), [Change::Vm { after: None, .. }, Change::Folder { after: None, .. }]),
        "{changes:?}"
    );

    let fault = "xsi:type=\"x\"><fault xsi:type=\"ManagedObjectNotFound\"><obj type=\"VirtualMachine\">vm-7</obj></fault>";
    let ended = vec![("info.state", text("error")), ("info.error", value(fault))];
    inventory.apply(&update(UpdateKind::Enter, &task("1"), ended), now);
    assert_eq!(inventory.take_missing(), [Some(vm("vm-7"))]);
    assert!(inventory.take_missing().is_empty());
}

#[test]
fn a_vm_in_another_power_state_than_a_fault_says_is_read_again() {
    let now = Instant::now();
    let fault = "xsi:type=\"x\"><fault xsi:type=\"InvalidPowerState\"><existingState>poweredOff</existingState></fault>";
    for (power, wanted) in [("poweredOff", false), ("poweredOn", true)] {
        let mut inventory = Inventory::new(String::new());
        inventory.apply(&update(UpdateKind::Enter, &vm("1"), vec![("runtime.powerState", text(power))]), now);
        let ended = vec![
            ("info.entity", moref("VirtualMachine", "1")),
            ("info.state", text("error")),
            ("info.error", value(fault)),
        ];
        inventory.apply(&update(UpdateKind::Enter, &task("1"), ended), now);
        assert_eq!(inventory.is_incomplete(), wanted, "{power}");
    }
}

/// Answers a look-up during which no update came.
fn look_up(
    inventory: &mut Inventory,
    id: &str,
    read: Option<&Vm>,
    is_in_place: Option<bool>,
    now: Instant,
) -> bool {
    inventory.begin_read(&[vm(id)]);
    let read = read.cloned().map(Arc::new);
    let answer = LookedUp { read: read.as_ref(), is_in_place };
    inventory.set_looked_up(&vm(id), &answer, now)
}

#[test]
fn a_look_up_is_answered_until_the_vm_appears() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    look_up(&mut inventory, "1", None, None, now);
    look_up(&mut inventory, "2", Some(&Vm::empty(vm("2"))), None, now);
    assert_eq!(inventory.outside(&vm("1")), Some(&Outside::Gone));
    inventory.apply(&update(UpdateKind::Enter, &vm("2"), vec![("name", text("a"))]), now);
    assert_eq!(inventory.outside(&vm("2")), None);
    look_up(&mut inventory, "2", None, None, now);
    assert_eq!(inventory.outside(&vm("2")), None, "the inventory shows it");

    look_up(&mut inventory, "3", None, None, now);
    inventory.purge(now + ANSWER_KEPT);
    assert_eq!(inventory.last_outside(&vm("3")), None, "too old");
    let before = now.checked_sub(OUTSIDE_LIFE).unwrap();
    look_up(&mut inventory, "4", None, None, before);
    let known = |inventory: &Inventory| {
        (inventory.outside(&vm("4")).cloned(), inventory.last_outside(&vm("4")).cloned())
    };
    assert_eq!(known(&inventory), (None, Some(Outside::Gone)));
    inventory.forget_outside(&vm("4"));
    assert_eq!(known(&inventory), (None, None));
}

/// The folder of a VM may have been moved although the VM has the same parent, and the root folder as well.
#[test]
fn a_vm_is_confirmed_only_where_the_settings_say() {
    let folder = |id: &str| MoRef::new("Folder", id);
    let (root, top, datacenter) = (folder("root"), folder("vm"), MoRef::new("Datacenter", "dc"));
    let at = |folders: &[(&str, &str, &MoRef)]| {
        let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
        inventory.set_root(root.clone());
        for (id, name, parent) in folders {
            let properties = vec![("name", text(name)), ("parent", moref(parent.kind(), parent.value()))];
            inventory.apply(&update(UpdateKind::Enter, &folder(id), properties), now);
        }
        inventory
    };
    let levels = ["a".to_owned(), "b".to_owned()];
    let inside = Vm { parent: Some(folder("g")), ..Vm::empty(vm("1")) };
    let (g, a, other) = (folder("g"), folder("a"), folder("other"));
    let in_root = ("g", "g", &root);
    let (in_a, in_top) = (("root", "b", &a), ("a", "a", &top));
    for (what, folders, wanted) in [
        ("in its place", vec![in_root, in_a, in_top], Some(true)),
        ("deeper", vec![("g", "g", &other), ("other", "x", &root), in_a, in_top], Some(true)),
        ("elsewhere", vec![("g", "g", &top), in_a, in_top], Some(false)),
        ("in another datacenter", vec![("g", "g", &datacenter), in_a, in_top], Some(false)),
        ("the root folder is renamed", vec![in_root, ("root", "c", &a), in_top], Some(false)),
        ("the root folder is moved up", vec![in_root, ("root", "b", &top)], Some(false)),
        ("the root folder is moved down", vec![in_root, ("root", "b", &a), ("a", "a", &other)], Some(false)),
        ("what it is in is renamed", vec![in_root, in_a, ("a", "c", &top)], Some(false)),
        ("a folder that was not read", vec![("g", "g", &other), in_a, in_top], None),
        ("a root folder that was not read", vec![in_root], None),
        ("moved between two reads", vec![("g", "g", &other), ("other", "x", &g)], None),
    ] {
        assert_eq!(at(&folders).is_in_place(&inside, &top, &levels), wanted, "{what}");
    }
    let in_no_folder = Vm::empty(vm("1"));
    assert_eq!(at(&[in_root, in_a, in_top]).is_in_place(&in_no_folder, &top, &levels), None, "in a vApp");
}

#[test]
fn what_was_read_is_compared_with_what_is_shown() {
    let (root, now) = (MoRef::new("Folder", "root"), Instant::now());
    let known = Vm { parent: Some(root.clone()), markers: Some(Box::new([])), ..Vm::empty(vm("1")) };
    let other = Vm { template: true, ..known.clone() };
    let unread = Vm::empty(vm("1"));
    for (what, read, is_in_place, wanted) in [
        ("as it was", Some(&known), Some(true), Confirmation::Same),
        ("its folder was moved", Some(&known), Some(false), Confirmation::Changed),
        ("a folder that cannot be read", Some(&known), None, Confirmation::Unread),
        ("it is another", Some(&other), Some(true), Confirmation::Changed),
        ("it cannot be read", Some(&unread), None, Confirmation::Unread),
        ("it is gone", None, None, Confirmation::Changed),
    ] {
        let mut inventory = Inventory::new(String::new());
        inventory.put_vm(&vm("1"), Some(known.clone()));
        let missed = look_up(&mut inventory, "1", read, is_in_place, now);
        assert_eq!(inventory.confirmed(&vm("1")), Some(wanted), "{what}");
        assert_eq!(missed, wanted == Confirmation::Changed, "{what}");
    }
    let mut inventory = Inventory::new(String::new());
    inventory.put_vm(&vm("1"), Some(known.clone()));
    let before = now.checked_sub(CONFIRMED_LIFE).unwrap();
    for (read, wanted) in [(&known, Some(Confirmation::Same)), (&other, None)] {
        look_up(&mut inventory, "1", Some(read), Some(true), before);
        inventory.purge(now);
        assert_eq!((inventory.confirmed(&vm("1")), inventory.last_confirmed(&vm("1"))), (None, wanted));
    }
    // One that is shown nowhere, in a folder that is shown.
    let mut inventory = Inventory::new(String::new());
    inventory.folder_created(&root, "root", &MoRef::new("Folder", "vm"), now);
    assert!(look_up(&mut inventory, "1", Some(&known), None, now));
    assert!(inventory.is_incomplete());
}

#[test]
fn a_vm_is_as_it_was_read_until_an_update_comes() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    let parent = Some(MoRef::new("Folder", "root"));
    let on = Vm { parent, markers: Some(Box::new([])), power: Some(PowerState::On), ..Vm::empty(vm("1")) };
    let off = Vm { power: Some(PowerState::Off), ..on.clone() };
    inventory.put_vm(&vm("1"), Some(on.clone()));
    assert_eq!(inventory.last_read(&vm("1")), None);
    assert!(!look_up(&mut inventory, "1", Some(&off), Some(true), now));
    assert_eq!(inventory.last_read(&vm("1")).map(Arc::as_ref), Some(&off));
    inventory.apply(&update(UpdateKind::Modify, &vm("1"), vec![("name", text("renamed"))]), now);
    assert_eq!(inventory.last_read(&vm("1")).map(Arc::as_ref), Some(&off), "that says nothing of it");
    let is_on = update(UpdateKind::Modify, &vm("1"), vec![("runtime.powerState", text("poweredOn"))]);
    inventory.apply(&is_on, now);
    assert_eq!(inventory.last_read(&vm("1")), None, "the inventory shows that already");
    assert_eq!(inventory.confirmed(&vm("1")), Some(Confirmation::Same));
    // The update comes before the answer, which may be older, and says what the inventory shows already.
    let renamed = update(UpdateKind::Modify, &vm("1"), vec![("name", text("again"))]);
    let unread = Vm::empty(vm("1"));
    for (between, read, is_newest) in
        [(&is_on, &off, false), (&renamed, &off, true), (&is_on, &unread, false), (&renamed, &unread, true)]
    {
        inventory.begin_read(&[vm("1")]);
        inventory.apply(between, now);
        let read = Arc::new(read.clone());
        let answer = LookedUp { read: Some(&read), is_in_place: Some(true) };
        inventory.set_looked_up(&vm("1"), &answer, now);
        assert_eq!(inventory.last_read(&vm("1")), is_newest.then_some(&read), "{between:?} {read:?}");
        let confirmation = if read.markers.is_some() { Confirmation::Same } else { Confirmation::Unread };
        assert_eq!(inventory.confirmed(&vm("1")), Some(confirmation));
    }
}

#[test]
fn tickets_are_served_in_order() {
    let mut inventory = Inventory::new(String::new());
    let mut changes = inventory.subscribe();
    inventory.set_refreshed(Ticket(2));
    inventory.set_refreshed(Ticket(2));
    inventory.set_refreshed(Ticket(1));
    assert!(inventory.refreshed(Ticket(1)) && inventory.refreshed(Ticket(2)));
    assert!(!inventory.refreshed(Ticket(3)));
    assert!(matches!(received(&mut changes).as_slice(), [Change::Refreshed(Ticket(2))]));
}

/// A task as the collector reports it.
fn reported(kind: UpdateKind, id: &str, state: &str, user: &str) -> ObjectUpdate {
    let reason = value(&format!("xsi:type=\"TaskReasonUser\"><userName>{user}</userName>"));
    let properties = vec![
        ("info.state", text(state)),
        ("info.descriptionId", text("VirtualMachine.clone")),
        ("info.entity", moref("VirtualMachine", "vm-1")),
        ("info.reason", reason),
    ];
    update(kind, &task(id), properties)
}

#[test]
fn tasks_say_who_submitted_them_on_what() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    inventory.apply(&reported(UpdateKind::Enter, "1", "running", "D\\other"), now);
    let shown = inventory.task(&task("1")).unwrap();
    assert_eq!((shown.user.as_deref(), shown.entity.as_ref()), (Some("D\\other"), Some(&vm("vm-1"))));
    assert_eq!((&*shown.description_id, shown.state), ("VirtualMachine.clone", TaskState::Running));
}

#[test]
fn ended_tasks_are_kept_for_a_time_and_ours_for_longer() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    let mut changes = inventory.subscribe();
    inventory.apply(&reported(UpdateKind::Enter, "other", "running", "them"), now);
    inventory.apply(&reported(UpdateKind::Modify, "other", "success", "them"), now);
    inventory.apply(&reported(UpdateKind::Enter, "running", "running", "them"), now);
    // Reported before the answer to the call that submitted it arrives.
    inventory.apply(&reported(UpdateKind::Enter, "ours", "success", "us"), now);
    inventory.task_submitted(&task("ours"), now);
    assert_eq!(received(&mut changes).len(), 4);
    assert!(inventory.unwatched_tasks(now + Duration::from_secs(1)).is_empty());
    let mut left = |seconds| {
        inventory.purge(now + Duration::from_secs(seconds));
        let mut left: Vec<_> = inventory.tasks().map(|task| task.moref.value().to_owned()).collect();
        left.sort();
        left
    };
    // As long as a call may wait for an answer that never comes.
    assert_eq!(left(170), ["other", "ours", "running"]);
    assert_eq!(left(190), ["ours", "running"]);
    assert_eq!(left(601), ["running"]);
}

#[test]
fn a_submitted_task_that_the_collector_does_not_watch_is_read() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    inventory.task_submitted(&task("1"), now);
    let later = now + Duration::from_secs(1);
    assert_eq!(inventory.unwatched_tasks(later), [task("1")]);
    assert!(inventory.unwatched_tasks(now).is_empty(), "the poll was sent before");
    inventory.task_read(&task("1"), Some(&reported(UpdateKind::Enter, "1", "running", "us")), later);
    assert_eq!(inventory.unwatched_tasks(later), [task("1")]);
    let mut changes = inventory.subscribe();
    inventory.task_read(&task("1"), None, later);
    assert!(matches!(received(&mut changes).as_slice(), [Change::Task(task)] if !task.state.ended()));
    assert!(inventory.task(&task("1")).is_none());
}

/// Its list of recent tasks is bounded: no update says any more how far such a task is.
#[test]
fn a_task_of_another_client_that_a_complete_report_does_not_name_is_dropped() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    inventory.apply(&reported(UpdateKind::Enter, "theirs", "running", "them"), now);
    inventory.task_submitted(&task("ours"), now);
    inventory.begin_baseline();
    inventory.end_baseline(now);
    assert!(inventory.task(&task("theirs")).is_none());
    assert!(inventory.task(&task("ours")).is_some());
}

#[test]
fn the_times_of_tasks_are_the_later_by_either_clock() {
    let (mut inventory, now) = (Inventory::new(String::new()), Instant::now());
    let seconds = SignedDuration::from_secs;
    // At the last one there is no other time.
    for (ahead, queued) in
        [(seconds(0), 1000), (seconds(-600), 1600), (seconds(600), 1000), (SignedDuration::MIN, 1000)]
    {
        inventory.set_clock(ahead);
        let queued = SystemTime::UNIX_EPOCH + Duration::from_secs(queued);
        let shown = vec![("info.queueTime", text("1970-01-01T00:16:40Z"))];
        inventory.apply(&update(UpdateKind::Enter, &task("1"), shown), now);
        assert_eq!(inventory.task(&task("1")).unwrap().queued_at, Some(queued), "{ahead} ahead");
    }
}

#[test]
fn equal_texts_are_shared() {
    let (mut inventory, now) = (Inventory::new("our.".to_owned()), Instant::now());
    for id in ["1", "2"] {
        let properties = vec![
            ("parent", moref("Folder", "f")),
            ("name", text(id)),
            ("config.extraConfig", options(&[("our.revision", "r"), ("other", "x")])),
        ];
        inventory.apply(&update(UpdateKind::Enter, &vm(id), properties), now);
    }
    let [one, two] = ["1", "2"].map(|id| inventory.vm(&vm(id)).unwrap().markers.clone().unwrap());
    assert_eq!(one.len(), 1);
    assert!(Arc::ptr_eq(&one[0].0, &two[0].0) && Arc::ptr_eq(&one[0].1, &two[0].1));
}

/// What happens to one of a few VMs.
#[derive(Debug, Clone)]
enum Event {
    Enter { id: u8, name: String, uuid: String, markers: Vec<(String, String)> },
    Rename { id: u8, name: String },
    Leave { id: u8 },
    Missing { id: u8 },
}

fn event() -> impl Strategy<Value = Event> {
    let any_text = prop_oneof!["[ab]", "[^\\u{0}-\\u{1f}\\u{fffe}\\u{ffff}]{0,6}"];
    let markers = prop::collection::vec(("our\\.[a-zé日]{0,2}", any_text.clone()), 0..3);
    prop_oneof![
        (0u8..4, any_text.clone(), "[A-Fé日]{0,3}", markers)
            .prop_map(|(id, name, uuid, markers)| { Event::Enter { id, name, uuid, markers } }),
        (0u8..4, any_text).prop_map(|(id, name)| Event::Rename { id, name }),
        (0u8..4).prop_map(|id| Event::Leave { id }),
        (0u8..4).prop_map(|id| Event::Missing { id }),
    ]
}

fn apply(inventory: &mut Inventory, event: &Event) {
    let now = Instant::now();
    match event {
        Event::Enter { id, name, uuid, markers } => {
            let entries: Vec<_> = markers.iter().map(|(key, value)| (&**key, &**value)).collect();
            let properties = vec![
                ("name", text(name)),
                ("parent", moref("Folder", "f")),
                ("config.instanceUuid", text(uuid)),
                ("config.extraConfig", options(&entries)),
            ];
            inventory.apply(&update(UpdateKind::Enter, &vm(&id.to_string()), properties), now);
        }
        Event::Rename { id, name } => {
            let properties = vec![("name", text(name))];
            inventory.apply(&update(UpdateKind::Modify, &vm(&id.to_string()), properties), now);
        }
        Event::Leave { id } => {
            inventory.apply(&update(UpdateKind::Leave, &vm(&id.to_string()), Vec::new()), now);
        }
        Event::Missing { id } => inventory.remove_missing(&vm(&id.to_string())),
    }
}

proptest! {
    /// Whatever happens, with texts of any characters: every index finds exactly the VMs there are, and the changes
    /// sent lead from one state to the next.
    #[test]
    fn indexes_and_changes_agree_with_the_vms(events in prop::collection::vec(event(), 0..40)) {
        let mut inventory = Inventory::new("our.".to_owned());
        let mut changes = inventory.subscribe();
        let mut replayed: HashMap<MoRef, Arc<Vm>> = HashMap::new();
        for event in &events {
            apply(&mut inventory, event);
            for change in received(&mut changes) {
                let Change::Vm { before, after } = change else { continue };
                let moref = before.iter().chain(&after).next().unwrap().moref.clone();
                prop_assert_eq!(replayed.remove(&moref), before);
                replayed.extend(after.map(|after| (moref, after)));
            }
            prop_assert_eq!(&replayed, &inventory.vms);
        }
        let folder = MoRef::new("Folder", "f");
        prop_assert_eq!(inventory.vms_in(&folder).count(), inventory.vms().count());
        for vm in inventory.vms() {
            let same_name = inventory.vm_named(&folder, &vm.name).unwrap();
            prop_assert_eq!(&same_name.name, &vm.name);
            for (key, value) in vm.markers.iter().flatten() {
                // Of two entries with one key the first counts.
                if vm.marker(key) == Some(value) {
                    prop_assert!(inventory.vms_marked(key, value).any(|found| found.moref == vm.moref));
                }
            }
        }
        for moref in inventory.vms.keys().cloned().collect::<Vec<_>>() {
            inventory.remove_missing(&moref);
        }
        prop_assert!(inventory.by_name.is_empty() && inventory.by_marker.is_empty());
    }
}
