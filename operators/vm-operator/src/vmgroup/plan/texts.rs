//! What a group says of its machines, for people.

use crate::vmgroup::seen::{FolderSeen, Leftover, LeftoverWhy, Member, Seen, Stray, Unread};

/// Returns how many machines are ready, for people.
#[must_use]
pub fn tally(ready: usize, wanted: usize) -> String {
    let machines = if wanted == 1 { "machine" } else { "machines" };
    let are = if ready == 1 || wanted == 1 { "is" } else { "are" };
    format!("{ready} of {wanted} virtual {machines} {are} ready")
}

/// Returns the first trouble in slot order, and how many others have the same.
pub(super) fn trouble(members: &[Member]) -> Option<(String, String)> {
    let (first, (reason, message)) =
        members.iter().find_map(|member| member.trouble.as_ref().map(|trouble| (member, trouble)))?;
    let is_same = |member: &&Member| member.trouble.as_ref().is_some_and(|(other, _)| other == reason);
    let same = members.iter().filter(is_same).count() - 1;
    Some((reason.clone(), format!("{}{}: {message}", first.key.name(), and_more(same))))
}

/// Returns what the first member that waits behind others waits for, and how many others do.
pub(super) fn jam(members: &[Member]) -> Option<String> {
    let mut jammed = members.iter().filter_map(|member| Some((member, member.jam.as_ref()?)));
    let (first, message) = jammed.next()?;
    Some(format!("{}{}: {message}", first.key.name(), and_more(jammed.count())))
}

/// Names the folders that are left of a group that is gone, for people; `None` if there are none.
#[must_use]
pub fn describe_kept(seen: &Seen) -> Option<String> {
    let folders = seen.folder.iter().chain(&seen.original_folder);
    let name = |FolderSeen { name, children, .. }: &FolderSeen| {
        format!("{name} ({children} {})", if *children == 1 { "object" } else { "objects" })
    };
    let names = folders.map(name).collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| {
        format!("what was the group's own is gone; folders that hold objects of others, or are not the operator's, are kept: {names}")
    })
}

/// Returns what is wrong with a VmInstance that is in the way of a member, and what to do.
pub(super) fn describe_stray(Stray { name, problem, .. }: &Stray) -> String {
    format!(
        "VmInstance {name} has the name of one of the group's, and is none: {problem}; correct it, or remove it with kubectl delete \
         vgi {name}, which leaves its virtual machine"
    )
}

/// Returns which VmInstances do not parse, and why the first does not; `None` if all do.
pub(super) fn describe_unread(unread: &[Unread]) -> Option<String> {
    let (Unread { name, problem }, others) = unread.split_first()?;
    let more = and_more(others.len());
    Some(format!(
        "VmInstance {name}{more} does not parse, so its virtual machine is left as it is, and no other is made: {problem}"
    ))
}

fn and_more(n: usize) -> String {
    if n > 0 { format!(" (and {n} more)") } else { String::new() }
}

/// Names the VmInstances that are left, says why and what to do; `None` if there are none.
#[must_use]
pub fn describe_leftovers(leftovers: &[Leftover]) -> Option<String> {
    let Leftover { name, why, .. } = leftovers.first()?;
    let more = and_more(leftovers.len() - 1);
    Some(match why {
        LeftoverWhy::Finalizers(finalizers) => format!(
            "VmInstance {name}{more} is gone but for finalizers of others ({finalizers}): ask their owners to remove them, or \
             remove them with kubectl edit vgi {name}"
        ),
        LeftoverWhy::NoOwner => format!(
            "VmInstance {name}{more} is left of a former group and has no owner: remove it with kubectl delete vgi {name}, which leaves \
             its virtual machine"
        ),
    })
}

#[cfg(test)]
mod tests {
    use infra_clients::vsphere::MoRef;

    use super::*;

    #[test]
    fn what_finalizers_of_others_keep_is_named_with_what_to_write() {
        let why = LeftoverWhy::Finalizers("example.com/audit".into());
        let kept = Leftover { name: "g-0".into(), slot: 0, why };
        assert_eq!(describe_leftovers(&[]), None);
        let text = describe_leftovers(&[kept.clone(), kept]).unwrap();
        assert!(text.contains("g-0 (and 1 more)") && text.contains("example.com/audit"), "{text}");
        assert!(text.ends_with("with kubectl edit vgi g-0"), "{text}");
        let orphan = Leftover { name: "g-1".into(), slot: 1, why: LeftoverWhy::NoOwner };
        assert!(describe_leftovers(&[orphan]).unwrap().contains("kubectl delete vgi g-1"));
    }

    #[test]
    fn one_is_not_many() {
        let folder = |n: usize| {
            let moref = MoRef::new("Folder", "group-1");
            Some(FolderSeen { moref, name: format!("f-{n}"), children: n, own: true })
        };
        let kept = Seen { folder: folder(1), original_folder: folder(2), ..Seen::default() };
        let text = describe_kept(&kept).unwrap();
        assert!(text.ends_with("are kept: f-1 (1 object), f-2 (2 objects)"), "{text}");
        assert_eq!(describe_kept(&Seen::default()), None);
        assert_eq!(tally(1, 1), "1 of 1 virtual machine is ready");
    }
}
