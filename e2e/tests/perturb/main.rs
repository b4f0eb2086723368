//! Every operator ends as in a clean run when one thing goes wrong: samples of what `cargo xtask perturb` runs, and the runs
//! that have found something.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use e2e::perturb::{self, RunName};
use e2e::{PageRig, Plane, Rig, VmRig};

/// Runs of each operator.
const COUNT: usize = 40;
/// Selects the runs.
const SEED: u64 = 9;
/// Runs at a time.
const LANES: usize = 4;

/// Plays these runs, and a sample of that size.
async fn passes<R: Rig>(names: &[&str], count: usize) {
    let plane = Plane::shared().await.unwrap();
    let lesson = perturb::learn::<R>(&plane).await.unwrap();
    println!("seed {SEED}");
    let mut runs: Vec<RunName> = names.iter().map(|name| name.parse().unwrap()).collect();
    runs.extend(lesson.plan.sample(count, SEED));
    perturb::run::<R>(&plane, &lesson, &runs, LANES).await.unwrap();
}

mod page {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_ends_as_without_the_fault() {
        passes::<PageRig>(&[], COUNT).await;
    }

    /// The driver took every 409 for the end of the object, and wrote the status at the object's next change only.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_status_is_written_again_after_a_conflict() {
        passes::<PageRig>(&["status-409@apply/pages.status/one#2"], 0).await;
    }

    /// After a restart with an old list, a file was written for a page that had been deleted, and stayed.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_file_is_written_for_a_page_that_is_gone() {
        passes::<PageRig>(&["older-list-16@patch/pages/two#2"], 0).await;
    }

    /// A page was let go while its directory was away, and its file stayed.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_page_is_let_go_while_its_directory_is_away() {
        passes::<PageRig>(&["outside:directory-gone@delete"], 0).await;
    }
}

mod vm {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_ends_as_without_the_fault() {
        passes::<VmRig>(&[], COUNT).await;
    }

    /// After a restart with an old list, a folder was created for a group that had been deleted, and stayed; instances were
    /// created for an earlier number of replicas.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_created_for_a_group_that_is_gone_or_has_changed() {
        let names = [
            "older-list-16@patch/vmgroups/web#2",
            "older-list-16@delete/vminstances/web-2#1",
            "older-list-4@patch/vminstances/web-0#1",
        ];
        passes::<VmRig>(&names, 0).await;
    }
}
