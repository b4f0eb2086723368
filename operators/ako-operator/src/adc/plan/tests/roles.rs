//! Roles that users of others have.

use super::*;

/// As of another management cluster: AVI does not remove it.
#[test]
fn a_role_that_users_of_others_have_keeps_no_deletion() {
    let recorded = adc(&json!({}), &json!({ "roles": [ROLE] }));
    let mut seen = seen(facts());
    seen.basis.is_deleting = true;
    seen.answer = Some(Arc::new(Answer { basis: seen.basis.clone(), at: at(0), facts: facts() }));
    let Turn::Act(Plan::Configure(change)) = decide(&recorded, &seen, at(1)) else {
        panic!("it is not removed")
    };
    assert_eq!(change.removed.roles, [ROLE.to_owned()].into());
    seen.kept_roles = [ROLE.to_owned()].into();
    let Turn::LookAgain(Plan::Record(added)) = decide(&recorded, &seen, at(1)) else {
        panic!("it is not let go of")
    };
    assert_eq!(added.roles, Vec::<String>::new());
    // One that is asked for stays in the record.
    seen.basis.is_deleting = false;
    seen.answer = Some(Arc::new(Answer { basis: seen.basis.clone(), at: at(0), facts: facts() }));
    let Turn::LookAgain(Plan::Record(added)) = decide(&recorded, &seen, at(1)) else { panic!("no record") };
    assert_eq!(added.roles, [ROLE]);
}
