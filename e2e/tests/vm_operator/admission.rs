//! What the API server refuses, in words that say what to write.

use e2e::{VmRig, group};
use serde_json::{Value, json};

use crate::place;

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_work_is_refused_with_what_to_write() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let long = "x".repeat(254);
    for (template, says) in [
        ("", "the template is blank: write the name of a template"),
        (" \t", "the template is blank: write the name of a template"),
        (" photon", r#"the template " photon" has blanks around it: write "photon""#),
        ("photon\n", "the template has blanks or line breaks around it: remove them"),
        (&long, "253"),
    ] {
        let refused = rig.kubectl_stdin(&["create", "-f", "-"], &group("bad", 0, template).to_string()).await;
        let error = format!("{:#}", refused.unwrap_err());
        assert!(error.contains(says) && error.contains("spec.template"), "{template:?}: {error}");
    }
    rig.kubectl_stdin(&["create", "-f", "-"], &instance("photon").to_string()).await.unwrap();
    for (template, says) in
        [(" \t", "the template is blank"), ("photon ", r#"write "photon""#), (&long, "253")]
    {
        let patch = json!({ "spec": { "template": template } }).to_string();
        let refused = rig.kubectl(&["patch", "vgi", "bad-0", "--type=merge", "-p", &patch]).await;
        let error = format!("{:#}", refused.unwrap_err());
        assert!(error.contains(says) && error.contains("spec.template"), "{template:?}: {error}");
    }
    rig.kubectl(&["delete", "vgi", "bad-0"]).await.unwrap();
    let many = group("bad", 100_001, "photon").to_string();
    let error = rig.kubectl_stdin(&["create", "-f", "-"], &many).await.unwrap_err();
    assert!(format!("{error:#}").contains("less than or equal to 100000"), "{error:#}");
    let fits = group("fits", 0, &"x".repeat(253)).to_string();
    rig.kubectl_stdin(&["create", "-f", "-"], &fits).await.unwrap();
    rig.kubectl(&["delete", "vg", "fits"]).await.unwrap();
}

/// Returns a VmInstance as a user may write it. It has no group, so that the operator ignores it.
fn instance(template: &str) -> Value {
    json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmInstance",
        "metadata": { "name": "bad-0" },
        "spec": {
            "group": "bad", "groupUid": "none", "slot": 0, "vmName": "bad-0", "cpu": 1, "memory": 1,
            "instanceUuid": "00000000-0000-4000-8000-000000000000", "template": template,
        },
    })
}
