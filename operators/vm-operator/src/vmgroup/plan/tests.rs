//! The group's plan against a model of the world it changes.

use proptest::prelude::*;

use super::*;

fn spec(replicas: i32, template: &str) -> VmGroupSpec {
    VmGroupSpec { cpu: 1, memory: 1, replicas, template: template.into() }
}

fn member(slot: i32) -> Member {
    Member {
        name: format!("g-{slot}"),
        uid: format!("uid-{slot}"),
        slot,
        deleting: false,
        exists: true,
        on: true,
        begun: true,
        asked: spec(0, "t").revision(),
        made_from: Some(spec(0, "t").revision()),
        trouble: None,
    }
}

fn seen(members: Vec<Member>) -> Observed {
    Observed { synced: true, blind: None, folder: true, members }
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.delete.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_settled_group_plans_nothing() {
    let plan = plan(&spec(3, "t"), &seen((0..3).map(member).collect()));
    assert!(plan.is_empty(), "{plan:?}");
}

#[test]
fn a_new_group_gets_its_folder_and_its_lowest_slots() {
    let plan = plan(&spec(3, "t"), &Observed { synced: true, ..Observed::default() });
    assert_eq!((plan.folder, plan.create), (true, vec![0, 1, 2]));
}

#[test]
fn zero_replicas_need_no_folder_and_no_machine() {
    let plan = plan(&spec(0, "t"), &Observed { synced: true, ..Observed::default() });
    assert!(plan.is_empty());
}

#[test]
fn an_unseen_vcenter_gets_no_folder_but_the_intent_is_written_down() {
    let plan = plan(&spec(2, "t"), &Observed::default());
    assert_eq!((plan.folder, plan.create), (false, vec![0, 1]));
}

#[test]
fn scale_down_takes_the_broken_then_the_outdated_then_the_highest() {
    let broken = Member { on: false, exists: false, ..member(0) };
    let outdated = Member { made_from: Some("old".into()), ..member(1) };
    let members = vec![broken, outdated, member(2), member(3)];
    assert_eq!(deleted(&plan(&spec(3, "t"), &seen(members.clone()))), ["g-0"]);
    assert_eq!(deleted(&plan(&spec(2, "t"), &seen(members.clone()))), ["g-0", "g-1"]);
    assert_eq!(deleted(&plan(&spec(1, "t"), &seen(members))), ["g-0", "g-1", "g-3"]);
}

#[test]
fn a_slot_is_not_used_again_before_its_last_user_is_gone() {
    let going = Member { deleting: true, ..member(1) };
    let plan = plan(&spec(2, "t"), &seen(vec![member(0), going]));
    assert_eq!(plan.create, [2]);
}

#[test]
fn a_changed_template_reaches_only_instances_that_nothing_was_asked_for() {
    let waiting = Member { exists: false, on: false, begun: false, made_from: None, ..member(0) };
    let cloning = Member { exists: false, on: false, begun: true, made_from: None, ..member(1) };
    let plan = plan(&spec(3, "new"), &seen(vec![waiting, cloning, member(2)]));
    assert_eq!(plan.respec, ["g-0"]);
    assert!(plan.create.is_empty() && plan.delete.is_empty());
}

fn any_member() -> impl Strategy<Value = Member> {
    (0..12i32, any::<[bool; 4]>(), prop::sample::select(vec!["t", "u"])).prop_map(
        |(slot, [deleting, exists, on, begun], template)| Member {
            deleting,
            exists,
            on: on && exists,
            begun: begun || exists,
            asked: spec(0, template).revision(),
            made_from: exists.then(|| spec(0, template).revision()),
            ..member(slot)
        },
    )
}

proptest! {
    /// Carried out and looked at again, nothing is left to do, and the count is right.
    #[test]
    fn plans_reach_a_fixed_point(
        replicas in 0..10i32,
        members in prop::collection::vec(any_member(), 0..12),
        folder: bool,
    ) {
        let spec = spec(replicas, "t");
        let mut members = members;
        members.sort_by_key(|m| m.slot);
        members.dedup_by_key(|m| m.slot);
        let mut world = Observed { synced: true, blind: None, folder, members };
        let first = plan(&spec, &world);

        world.folder |= first.folder;
        for (name, _) in &first.delete {
            let victim = world.members.iter_mut().find(|m| &m.name == name).expect("it exists");
            prop_assert!(!victim.deleting, "deleted twice");
            victim.deleting = true;
        }
        for name in &first.respec {
            let m = world.members.iter_mut().find(|m| &m.name == name).expect("it exists");
            prop_assert!(!m.exists && !m.begun);
            m.asked = spec.revision();
        }
        for slot in &first.create {
            prop_assert!(world.members.iter().all(|m| m.slot != *slot), "slot {slot} was taken");
            world.members.push(member(*slot));
        }
        let live = world.members.iter().filter(|m| !m.deleting).count();
        prop_assert_eq!(live, usize::try_from(replicas).unwrap());
        prop_assert!(first.create.is_empty() || first.delete.is_empty());

        let second = plan(&spec, &world);
        prop_assert!(second.is_empty(), "{:?}", second);

        world.members.retain(|m| !m.deleting);
        let third = plan(&spec, &world);
        prop_assert!(third.is_empty(), "{:?}", third);
    }
}
