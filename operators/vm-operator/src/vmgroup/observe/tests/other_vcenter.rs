//! A group whose status names another vCenter.

use super::*;

#[test]
fn a_group_of_another_vcenter() {
    fn elsewhere(world: &mut World) {
        world.inventory.set_instance_uuid("here");
        world.group.status.get_or_insert_default().vcenter = Some("there".into());
    }
    check(&[
        ("recorded in another", elsewhere, |s| {
            s.other_vcenter = Some(AnotherVcenter { recorded: "there".into(), connected: "here".into() });
            s.vcenter = Some("here".into());
            // The reference of the other vCenter's folder says nothing here.
            s.folder.as_mut().unwrap().own = false;
        }),
        (
            "a machine was brought here",
            |w| {
                elsewhere(w);
                w.show(|vm| vm);
            },
            |s| {
                has(s);
                s.vcenter = Some("here".into());
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
