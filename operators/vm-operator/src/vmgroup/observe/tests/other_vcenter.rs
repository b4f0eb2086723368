//! A group whose status names another vCenter.

use super::*;

#[test]
fn a_group_of_another_vcenter() {
    fn elsewhere(world: &mut World) {
        world.inventory.set_instance_uuid("here");
        world.group.status.get_or_insert_default().vcenter = Some("there".into());
    }
    fn record(world: &mut World, index: usize, vcenter: &str) {
        world.instances[index].status.get_or_insert_default().vcenter = Some(vcenter.into());
    }
    fn away(seen: &mut Seen) {
        seen.other_vcenter = Some(AnotherVcenter { recorded: "there".into(), connected: "here".into() });
        seen.vcenter = Some("here".into());
        // The reference of the other vCenter's folder says nothing here.
        seen.folder.as_mut().unwrap().own = false;
    }
    check(&[
        ("recorded in another", elsewhere, away),
        (
            "one of two machines was brought here, and the other has no record",
            |w| {
                elsewhere(w);
                w.show(|vm| vm);
            },
            |s| {
                away(s);
                has(s);
                s.folder.as_mut().unwrap().own = true;
            },
        ),
        (
            "one was brought here, and the other is recorded elsewhere",
            |w| {
                elsewhere(w);
                w.show(|vm| vm);
                record(w, 0, "there");
            },
            |s| {
                away(s);
                has(s);
                s.folder.as_mut().unwrap().own = true;
                s.members[1].vcenter = Some("there".into());
            },
        ),
        (
            "one was brought here, and the other is recorded here",
            |w| {
                elsewhere(w);
                w.show(|vm| vm);
                record(w, 0, "here");
            },
            |s| {
                has(s);
                s.vcenter = Some("here".into());
                s.members[1].vcenter = Some("here".into());
            },
        ),
        (
            "the only machine was brought here",
            |w| {
                elsewhere(w);
                w.instances.remove(0);
                w.show(|vm| vm);
            },
            |s| {
                has(s);
                s.vcenter = Some("here".into());
                s.members.remove(1);
            },
        ),
        (
            "without a VmInstance or a folder",
            |w| {
                elsewhere(w);
                w.instances.clear();
                w.group.status.get_or_insert_default().folder = None;
            },
            |s| {
                s.vcenter = Some("here".into());
                s.members.clear();
                s.folder.as_mut().unwrap().own = false;
            },
        ),
        (
            "without a VmInstance, and with a folder there",
            |w| {
                elsewhere(w);
                w.instances.clear();
            },
            |s| {
                away(s);
                s.members.clear();
            },
        ),
        (
            "without a VmInstance, and with a folder that was adopted there",
            |w| {
                elsewhere(w);
                w.instances.clear();
                let status = w.group.status.get_or_insert_default();
                (status.folder, status.adopted_folder) = (None, Some("team-web".into()));
            },
            |s| {
                away(s);
                s.members.clear();
            },
        ),
        (
            "the group's record is lost, that of an instance is not",
            |w| {
                elsewhere(w);
                w.group.status.get_or_insert_default().vcenter = None;
                record(w, 0, "there");
            },
            |s| {
                away(s);
                s.members[1].vcenter = Some("there".into());
                s.folder.as_mut().unwrap().own = true;
            },
        ),
        (
            "out of sight",
            |w| {
                elsewhere(w);
                w.blind = Some(blind());
            },
            |s| (s.blind, s.folder) = (Some(blind()), None),
        ),
        (
            "no vCenter is recorded",
            |w| w.inventory.set_instance_uuid("here"),
            |s| s.vcenter = Some("here".into()),
        ),
    ]);
}
