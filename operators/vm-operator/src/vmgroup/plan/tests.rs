//! The group's plan: by tables, and against a model of the world it changes.

mod adoption;
mod leftovers;
mod other_vcenter;
mod victims;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::adoption::with_slots;
use super::*;
use crate::api::{VmGroupSpec, VmGroupStatus};
use crate::vmgroup::seen::{FolderSeen, Originals};

fn group(replicas: i32, template: &str) -> VmGroup {
    let spec = VmGroupSpec { cpu: 1, memory: 1, replicas, template: template.into(), paused: None };
    let mut group = VmGroup::new("g", spec);
    group.metadata.namespace = Some("n".into());
    group
}

fn deleted(mut group: VmGroup) -> VmGroup {
    group.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    group
}

fn revision(template: &str) -> String {
    group(0, template).spec.revision()
}

fn member(slot: i32) -> Member {
    Member::ready(Key::new("n", &format!("g-{slot}")), slot, revision("t"))
}

fn folder(name: &str, children: usize) -> FolderSeen {
    FolderSeen { moref: MoRef::new("Folder", name), name: name.into(), children, own: true }
}

fn seen(members: Vec<Member>) -> Seen {
    let census = Refresh::Served;
    Seen {
        folder: Some(folder("n.g", members.len())),
        members,
        census,
        max_replicas: 1000,
        ..Seen::default()
    }
}

fn empty() -> Seen {
    Seen { max_replicas: 1000, ..Seen::default() }
}

/// The changes of a turn; panics if it makes none.
fn scale(turn: Turn<Plan>) -> Scale {
    match turn {
        Turn::Act(Plan::Scale(scale)) => scale,
        turn => panic!("{turn:?}"),
    }
}

fn victims(scale: &Scale) -> Vec<&str> {
    scale.delete.iter().map(|(key, _)| key.name()).collect()
}

fn blocked(turn: &Turn<Plan>) -> Option<&'static str> {
    match turn {
        Turn::Blocked { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn a_settled_group_plans_nothing() {
    assert!(matches!(plan(&group(3, "t"), &seen((0..3).map(member).collect())), Turn::Settled));
}

#[test]
fn a_new_group_gets_its_folder_and_its_lowest_slots() {
    let scale = scale(plan(&group(3, "t"), &empty()));
    assert_eq!((scale.create_folder, scale.create), (true, vec![0, 1, 2]));
}

#[test]
fn zero_replicas_need_no_folder_and_no_machine() {
    assert!(matches!(plan(&group(0, "t"), &empty()), Turn::Settled));
}

#[test]
fn nothing_is_created_and_no_victim_is_chosen_while_the_vcenter_is_not_seen() {
    let blind =
        Blind { reason: "VCenterUnreachable", message: String::new(), reported: true, needs_help: false };
    for members in [vec![], (0..5).map(|slot| Member { exists: false, on: false, ..member(slot) }).collect()]
    {
        let seen = Seen { blind: Some(blind.clone()), folder: None, ..seen(members) };
        assert!(matches!(plan(&group(3, "t"), &seen), Turn::Wait { reason: "VCenterUnreachable", .. }));
    }
}

#[test]
fn a_slot_is_not_used_again_before_its_last_user_is_gone() {
    let going = Member { deleting: true, ..member(1) };
    let waits = |going: &Member| plan(&group(2, "t"), &seen(vec![member(0), going.clone()]));
    assert!(
        matches!(waits(&going), Turn::Wait { reason: reason::SCALING, .. }),
        "it is made again in its slot"
    );
    assert_eq!(scale(plan(&group(2, "t"), &seen(vec![member(0)]))).create, [1]);
    assert_eq!(scale(plan(&group(3, "t"), &seen(vec![member(0), going.clone()]))).create, [2]);
    // What may keep it for long does not keep the group from having its machines.
    let trouble = Some((reason::MACHINE_UNCLEAR.to_owned(), "its host is disconnected".to_owned()));
    for long in [
        Member { trouble, ..going.clone() },
        Member { cloning: true, ..going.clone() },
        // The lowest of the slots that are given up.
        Member { slot: 2, ..going },
    ] {
        let create = if long.slot == 2 { 1 } else { 2 };
        assert_eq!(scale(waits(&long)).create, [create], "{long:?}");
    }
}

#[test]
fn a_changed_template_reaches_only_instances_that_nothing_was_requested_for() {
    let waiting = Member { exists: false, on: false, begun: false, made_from: None, ..member(0) };
    let cloning = Member { exists: false, on: false, begun: true, made_from: None, ..member(1) };
    let scale = scale(plan(&group(3, "new"), &seen(vec![waiting, cloning, member(2)])));
    assert_eq!(scale, Scale { respec: vec![Key::new("n", "g-0")], ..Scale::default() });
}

#[test]
fn an_instance_that_a_user_has_edited_is_edited_back() {
    let edited = Member { asked: revision("edited"), ..member(0) };
    let scale = scale(plan(&group(2, "t"), &seen(vec![edited, member(1)])));
    assert_eq!(scale, Scale { respec: vec![Key::new("n", "g-0")], ..Scale::default() });
    // Made from an earlier spec of the group: its instance records that.
    let outdated = Member { asked: revision("old"), made_from: Some(revision("old")), ..member(0) };
    assert!(matches!(plan(&group(1, "t"), &seen(vec![outdated])), Turn::Settled));
}

#[test]
fn too_many_replicas_are_refused_and_change_nothing() {
    let turn = plan(&group(100_000_000, "t"), &seen(vec![member(0)]));
    assert_eq!(blocked(&turn), Some(reason::TOO_MANY_REPLICAS));
    let paused = VmGroup { spec: VmGroupSpec { paused: Some(true), ..group(9, "t").spec }, ..group(9, "t") };
    assert!(matches!(plan(&paused, &empty()), Turn::Wait { reason: reason::PAUSED, .. }));
    assert!(matches!(
        plan(&deleted(paused), &seen(vec![member(0)])),
        Turn::Wait { reason: reason::PAUSED, .. }
    ));
}

#[test]
fn work_in_one_pass_is_bounded() {
    assert_eq!(scale(plan(&group(1000, "t"), &empty())).create.len(), BATCH);
    let many: Vec<_> = (0..1000).map(member).collect();
    assert_eq!(scale(plan(&group(0, "t"), &seen(many.clone()))).delete.len(), BATCH);
    assert_eq!(scale(plan(&deleted(group(0, "t")), &seen(many))).delete.len(), BATCH);
}

#[test]
fn a_folder_that_exists_serves_and_something_else_of_its_name_is_reported() {
    let fault = Fault::new(Kind::DuplicateName, "as the test wants it");
    let refused = |refresh| {
        let request = Some(FolderProgress::Failed(FolderChange::Create, fault.clone()));
        Seen { request, refresh, ..empty() }
    };
    let group = group(1, "t");
    let found = Seen { folder: Some(folder("n.g", 0)), ..refused(Refresh::None) };
    assert!(matches!(plan(&group, &found), Turn::LookAgain(Plan::SettleFolder)));
    assert!(matches!(plan(&group, &refused(Refresh::None)), Turn::LookAgain(Plan::Refresh)));
    assert!(matches!(
        plan(&group, &refused(Refresh::Requested)),
        Turn::Wait { reason: reason::REFRESHING, .. }
    ));
    assert!(matches!(
        plan(&group, &refused(Refresh::Served)),
        Turn::LookAgain(Plan::FailFolder(FolderChange::Create, _))
    ));
    let failed = |change, kind| {
        let fault = Fault::new(kind, "as the test wants it");
        Seen { request: Some(FolderProgress::Failed(change, fault)), ..empty() }
    };
    for (change, kind) in
        [(FolderChange::Create, Kind::NotFound), (FolderChange::Remove, Kind::DuplicateName)]
    {
        let group = if change == FolderChange::Remove { deleted(group.clone()) } else { group.clone() };
        let turn = plan(&group, &failed(change, kind));
        assert!(matches!(turn, Turn::LookAgain(Plan::FailFolder(failed, _)) if failed == change), "{turn:?}");
    }
    let gone = Fault::new(Kind::NotFound, "as the test wants it");
    let request = Some(FolderProgress::Failed(FolderChange::Remove, gone));
    assert!(matches!(
        plan(&deleted(group), &Seen { request, ..empty() }),
        Turn::LookAgain(Plan::SettleFolder)
    ));
}

#[test]
fn deletion_removes_instances_then_folders_and_keeps_one_only_by_a_fresh_look() {
    let group = deleted(group(2, "t"));
    assert_eq!(victims(&scale(plan(&group, &seen(vec![member(0), member(1)])))), ["g-0", "g-1"]);
    let going = Member { deleting: true, ..member(0) };
    let says = |members: Vec<Member>, text: &str| {
        let turn = plan(&group, &seen(members));
        assert!(
            matches!(&turn, Turn::Wait { reason: reason::REMOVING, message, .. } if message == text),
            "{turn:?}"
        );
    };
    // One that is not seen may be cloning, or on a host that is disconnected.
    let unseen = || Member { exists: false, on: false, ..going.clone() };
    says(vec![going.clone()], "1 virtual machine is left to remove");
    says(vec![unseen()], "1 VmInstance is left to remove");
    says(vec![going.clone(), unseen()], "2 VmInstances are left to remove");
    let none = || Seen { folder: Some(folder("n.g", 0)), ..empty() };
    assert!(matches!(plan(&group, &none()), Turn::Act(Plan::RemoveFolder(_))));
    let both = Seen { original_folder: Some(folder("n-g", 0)), folder: None, ..none() };
    assert!(matches!(plan(&group, &both), Turn::Act(Plan::RemoveFolder(_))));
    let shared = Seen { folder: Some(folder("n.g", 2)), ..empty() };
    assert!(matches!(plan(&group, &shared), Turn::LookAgain(Plan::Refresh)));
    let shared = Seen { refresh: Refresh::Served, ..shared };
    assert!(matches!(plan(&group, &shared), Turn::Gone));
    let foreign = Seen { folder: Some(FolderSeen { own: false, ..folder("n.g", 0) }), ..empty() };
    let foreign = Seen { refresh: Refresh::Served, ..foreign };
    assert!(matches!(plan(&group, &foreign), Turn::Gone), "an administrator's");
    assert!(matches!(plan(&group, &empty()), Turn::Gone));
}

/// Clones of other groups that take long are named, beside what the group has.
#[test]
fn a_group_says_for_what_it_waits_in_the_clone_queue() {
    let waits =
        |slot| Member { exists: false, on: false, jam: Some("they take long".into()), ..member(slot) };
    let turn = plan(&group(3, "t"), &seen(vec![member(0), waits(1), waits(2)]));
    let Turn::Wait { reason, message, .. } = turn else { panic!("{turn:?}") };
    assert_eq!(reason, reason::SCALING);
    assert_eq!(message, "1 of 3 virtual machines is ready; g-1 (and 1 more): they take long");
}

#[test]
fn a_detached_group_goes_without_the_vcenter() {
    let mut group = deleted(group(2, "t"));
    let blind =
        Blind { reason: "VCenterUnreachable", message: String::new(), reported: true, needs_help: false };
    let unseen = || Seen { blind: Some(blind.clone()), ..empty() };
    assert!(matches!(plan(&group, &unseen()), Turn::Wait { .. }));
    group.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
    assert_eq!(scale(plan(&group, &Seen { members: vec![member(0)], ..unseen() })).delete.len(), 1);
    assert!(matches!(plan(&group, &unseen()), Turn::Gone));
}

/// `kubectl delete --cascade=orphan`.
#[test]
fn a_group_that_is_deleted_without_its_instances_is_detached_once() {
    let mut group = deleted(group(1, "t"));
    group.metadata.finalizers = Some(vec!["orphan".into(), FINALIZER.into()]);
    assert!(matches!(plan(&group, &seen(vec![member(0)])), Turn::Act(Plan::Detach)));
    group.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
    assert_eq!(victims(&scale(plan(&group, &seen(vec![member(0)])))), ["g-0"]);
    assert!(matches!(plan(&group, &empty()), Turn::Gone));
}

#[test]
fn an_unclear_detach_stops_the_deletion_of_a_group() {
    let mut group = deleted(group(2, "t"));
    group.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "True".to_owned())].into());
    let blind =
        Blind { reason: "VCenterUnreachable", message: String::new(), reported: true, needs_help: false };
    let unseen = Seen { blind: Some(blind), ..empty() };
    for seen in [seen(vec![member(0)]), empty(), unseen] {
        let turn = plan(&group, &seen);
        let Turn::Blocked { reason, message } = turn else { panic!("{turn:?}") };
        assert_eq!(reason, reason::DETACH_UNCLEAR);
        assert!(message.starts_with("detach is \"True\": write \"true\", or remove"), "{message}");
    }
}

#[test]
fn a_tally_is_a_sentence() {
    for (ready, wanted, text) in [
        (0, 1, "0 of 1 virtual machine is ready"),
        (1, 1, "1 of 1 virtual machine is ready"),
        (1, 3, "1 of 3 virtual machines is ready"),
        (0, 3, "0 of 3 virtual machines are ready"),
        (3, 3, "3 of 3 virtual machines are ready"),
    ] {
        assert_eq!(tally(ready, wanted), text);
    }
}

#[test]
fn the_trouble_of_a_member_is_the_groups() {
    let trouble = Some((reason::NAME_CONFLICT.to_owned(), "in the way".to_owned()));
    let troubled = |slot| Member { exists: false, on: false, trouble: trouble.clone(), ..member(slot) };
    let turn = plan(&group(3, "t"), &seen(vec![member(0), troubled(1), troubled(2)]));
    let Turn::Blocked { reason, message } = turn else { panic!("{turn:?}") };
    assert_eq!(reason, reason::NAME_CONFLICT);
    assert_eq!(message, "1 of 3 virtual machines is ready; g-1 (and 1 more): in the way");
    let turn = plan(&group(2, "t"), &seen(vec![member(0), troubled(1)]));
    let Turn::Blocked { message, .. } = turn else { panic!("{turn:?}") };
    assert_eq!(message, "1 of 2 virtual machines is ready; g-1: in the way");
}

fn any_member() -> impl Strategy<Value = Member> {
    (0..12i32, any::<[bool; 4]>(), prop::sample::select(vec!["t", "u"])).prop_map(
        |(slot, [deleting, exists, on, begun], template)| Member {
            deleting,
            exists,
            on: on && exists,
            begun: begun || exists,
            asked: revision(template),
            made_from: exists.then(|| revision(template)),
            ..member(slot)
        },
    )
}

/// Applies changes to the world.
fn apply(world: &mut Seen, scale: &Scale, asked: &str) {
    if scale.create_folder {
        world.folder = Some(folder("n.g", 0));
    }
    for (key, _) in &scale.delete {
        let victim = world.members.iter_mut().find(|member| member.key == *key).expect("it exists");
        assert!(!victim.deleting, "deleted twice");
        victim.deleting = true;
    }
    for key in &scale.respec {
        let member = world.members.iter_mut().find(|member| member.key == *key).expect("it exists");
        assert!(member.made_from.as_deref() == Some(asked) || (!member.exists && !member.begun));
        member.asked = asked.to_owned();
    }
    for slot in &scale.create {
        assert!(world.members.iter().all(|member| member.slot != *slot), "slot {slot} was taken");
        world.members.push(member(*slot));
    }
}

proptest! {
    /// Applied and looked at again, nothing is left to change, and the count is right.
    #[test]
    fn plans_reach_a_fixed_point(
        replicas in 0..120i32,
        members in prop::collection::vec(any_member(), 0..12),
        has_folder: bool,
    ) {
        let group = group(replicas, "t");
        let mut members = members;
        members.sort_by_key(|member| member.slot);
        members.dedup_by_key(|member| member.slot);
        let mut world = Seen { folder: has_folder.then(|| folder("n.g", 0)), ..seen(members) };
        let mut passes = 0;
        while let Turn::Act(Plan::Scale(scale)) = plan(&group, &world) {
            prop_assert!(scale.create.is_empty() || scale.delete.is_empty());
            apply(&mut world, &scale, &group.spec.revision());
            passes += 1;
            prop_assert!(passes <= 4, "it never settles: {:?}", scale);
        }
        let live = |world: &Seen| world.members.iter().filter(|member| !member.deleting).count();
        let wanted = usize::try_from(replicas).unwrap();
        prop_assert!(live(&world) <= wanted);

        world.members.retain(|member| !member.deleting);
        if let Turn::Act(Plan::Scale(scale)) = plan(&group, &world) {
            prop_assert!(scale.delete.is_empty() && scale.respec.is_empty());
            apply(&mut world, &scale, &group.spec.revision());
        }
        prop_assert_eq!(live(&world), wanted);
        prop_assert!(!matches!(plan(&group, &world), Turn::Act(_) | Turn::LookAgain(_)));
    }
}

/// The explorer found that the group went first, and the folder stayed.
#[test]
fn a_deleted_group_waits_for_the_folder_that_is_being_created() {
    let fault = Fault::new(Kind::Timeout, "no answer");
    let failed = |refresh| Seen {
        request: Some(FolderProgress::Failed(FolderChange::Create, fault.clone())),
        refresh,
        ..empty()
    };
    let plan = |seen: &Seen| plan(&deleted(group(1, "t")), seen);
    let creating = Seen { request: Some(FolderProgress::Running(FolderChange::Create)), ..empty() };
    assert!(matches!(plan(&creating), Turn::Wait { .. }));
    assert!(matches!(plan(&failed(Refresh::None)), Turn::LookAgain(Plan::Refresh)));
    assert!(matches!(plan(&failed(Refresh::Requested)), Turn::Wait { .. }));
    assert!(matches!(plan(&failed(Refresh::Served)), Turn::LookAgain(Plan::SettleFolder)));
    assert!(matches!(plan(&empty()), Turn::Gone));
}
