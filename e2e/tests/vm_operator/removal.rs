//! The page about removing the operator is true: its commands, in its order. And rules of new CRDs leave old objects alone.

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig, group};
use serde_json::json;
use testbed::{eventually, project_root};

use crate::place;

const SYSTEM: &str = "codeconnect-vm-operator-system";

/// Returns the kubectl commands of the first block of a page's section, as their arguments, with absolute paths.
fn commands(page: &str, section: &str) -> Vec<Vec<String>> {
    let root = project_root().unwrap();
    let text = std::fs::read_to_string(root.join("docs/vm-operator").join(page)).unwrap();
    let section = text.split_once(section).unwrap().1;
    let block = section.split_once("```bash\n").unwrap().1.split_once("```").unwrap().0;
    let deploy = root.join("deploy/");
    let arguments = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().replace("deploy/", deploy.to_str().unwrap());
        line.split_whitespace().skip(1).map(|word| word.replace('\'', "")).collect()
    };
    block.lines().filter(|line| line.starts_with("kubectl ")).map(arguments).collect()
}

async fn run(rig: &VmRig, arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    rig.control_plane().kubectl(&arguments).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_remove_everything_and_hang_nowhere() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    new_rules_leave_old_objects_alone(&rig).await;
    let operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    drop(operator);

    // The operator goes first: groups and machines stay as they are.
    let removal = commands("remove.md", "# Remove vm-operator");
    let [groups, instances, base, crds] = &removal[..] else { panic!("{removal:?}") };
    run(&rig, base).await;
    assert_eq!(rig.machines().await.unwrap().len(), 2);
    assert!(rig.api("VmGroup").get("web").await.unwrap().metadata.deletion_timestamp.is_none());

    // And is installed again by the commands of that section.
    for command in &commands("remove.md", "## If the operator went first")[..2] {
        run(&rig, command).await;
    }
    let secret =
        rig.control_plane().kubectl(&["-n", SYSTEM, "get", "secret", "vc-creds", "-o", "json"]).await;
    assert_eq!(secret.unwrap().matches("\"VC_").count(), 3);
    the_secret_is_changed_by_the_command_of_the_page(&rig).await;
    let kubeconfig = rig.control_plane().service_account_kubeconfig(SYSTEM, "vm-operator").await.unwrap();
    let operator = rig.spawn_with(&kubeconfig, &rig.launch()).unwrap();
    rig.apply_and_settle("web", 3).await.unwrap();

    run(&rig, groups).await;
    run(&rig, instances).await;
    assert!(rig.machines().await.unwrap().is_empty());
    // As the Deployment would end it.
    drop(operator);
    run(&rig, base).await;
    run(&rig, crds).await;
    eventually("nothing is left", PATIENCE, async || {
        let label = "-lapp.kubernetes.io/part-of=infra-operators";
        let kinds = "crd,namespace,clusterrole,clusterrolebinding";
        let left = rig.control_plane().kubectl(&["get", kinds, label, "-o", "name"]).await?;
        ensure!(left.is_empty(), "{left}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

async fn the_secret_is_changed_by_the_command_of_the_page(rig: &VmRig) {
    let kubectl = rig.control_plane();
    let command = &commands("settings.md", "### Change the Secret")[0];
    let words = command.iter().map(|word| word.replace('…', "changed")).collect::<Vec<_>>();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let pipe = words.iter().position(|word| *word == "|").unwrap();
    let secret = kubectl.kubectl(&words[..pipe]).await.unwrap();
    kubectl.kubectl_stdin(&words[pipe + 2..], &secret).await.unwrap();
    let password = ["-n", SYSTEM, "get", "secret", "vc-creds", "-o", "jsonpath={.data.VC_PASS}"];
    assert_eq!(kubectl.kubectl(&password).await.unwrap(), "Y2hhbmdlZA==");
}

/// A group that was created before the rules for templates can be changed, except for a template that breaks them.
async fn new_rules_leave_old_objects_alone(rig: &VmRig) {
    let kubectl = rig.control_plane();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let without_rules = json!([
        {"op": "remove", "path": format!("{spec}/template/x-kubernetes-validations")},
        {"op": "remove", "path": format!("{spec}/template/maxLength")},
        {"op": "remove", "path": format!("{spec}/replicas/maximum")},
    ]);
    let crd = ["crd", "vmgroups.vm.codeconnect.vmworld.com"];
    kubectl
        .kubectl(&["patch", crd[0], crd[1], "--type=json", "-p", &without_rules.to_string()])
        .await
        .unwrap();
    let create = async |template: &str| {
        let old = group("old", 0, template).to_string();
        rig.kubectl_stdin(&["create", "-f", "-"], &old).await
    };
    let long = format!(" {}", "x".repeat(300));
    // The API server takes the new schema after a moment.
    eventually("the old schema takes it", PATIENCE, async || Ok(create(&long).await.ok())).await.unwrap();
    let crds = project_root().unwrap().join("deploy/vm-operator/crds");
    let apply = ["apply", "--server-side", "--force-conflicts", "-k", crds.to_str().unwrap()];
    kubectl.kubectl(&apply).await.unwrap();
    let blank = async |name: &str| {
        let refused = rig.kubectl_stdin(&["create", "-f", "-"], &group(name, 0, " ").to_string()).await;
        refused
            .err()
            .map(|error| format!("{error:#}"))
            .filter(|error| error.contains("the template is blank"))
    };
    eventually("the new schema is in force", PATIENCE, async || {
        let refused = blank("blank").await;
        if refused.is_none() {
            rig.kubectl(&["delete", "vg", "blank", "--ignore-not-found"]).await?;
        }
        Ok(refused)
    })
    .await
    .unwrap();
    rig.kubectl(&["patch", "vg", "old", "--type=merge", "-p", r#"{"spec":{"cpu":2}}"#]).await.unwrap();
    let worse = r#"{"spec":{"template":" photon"}}"#;
    let error = rig.kubectl(&["patch", "vg", "old", "--type=merge", "-p", worse]).await.unwrap_err();
    assert!(format!("{error:#}").contains(r#"write "photon""#), "{error:#}");
    rig.kubectl(&["delete", "vg", "old"]).await.unwrap();
}
