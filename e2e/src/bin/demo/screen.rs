//! The output of the demo: steps, commands with their output, and the changes meanwhile.
//!
//! Owns the terminal: only the demo's task prints, in complete lines, so that lines do not mix.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::VmRig;
use testbed::{Process, ProcessSpec};

/// The interval in which changes are polled.
const TICK: Duration = Duration::from_millis(100);
/// The time for which changes are shown after a step is complete, because `kubectl get -w` has a delay.
const AFTERMATH: u32 = 4;

/// The terminal, with the state of what it has shown.
pub(crate) struct Screen {
    begin: Instant,
    /// `kubectl get vg -w`.
    watch: Option<Process>,
    /// The number of bytes of the watch's output that were shown.
    watched: usize,
    /// The shown description of each machine and folder, by path.
    inventory: BTreeMap<String, String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), watch: None, watched: 0, inventory: BTreeMap::new() }
    }

    /// Prints a heading with the seconds since the start.
    pub(crate) fn step(&self, title: &str) {
        println!("\n== {title}  [{:.1} s]", self.begin.elapsed().as_secs_f64());
    }

    /// Prints a remark.
    #[expect(clippy::unused_self, reason = "only who has the screen may print")]
    pub(crate) fn say(&self, remark: &str) {
        println!("   {remark}");
    }

    /// Prints a kubectl command and its output.
    pub(crate) fn command(&self, command: &str, answer: &str) {
        self.say(&format!("$ kubectl {command}"));
        self.answer(answer);
    }

    fn answer(&self, answer: &str) {
        if answer.trim().is_empty() {
            self.say("(nothing)");
        }
        answer.lines().for_each(|line| self.say(line.trim_end()));
    }

    /// Runs a kubectl command. Prints it, its output, and the changes until it ends.
    pub(crate) async fn kubectl(&mut self, rig: &VmRig, command: &str) -> Result<()> {
        self.say(&format!("$ kubectl {command}"));
        let answer = kubectl(rig, command);
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer?,
                () = tokio::time::sleep(TICK) => self.changes(rig).await?,
            }
        };
        self.answer(&answer);
        Ok(())
    }

    /// Starts `kubectl get vg -w`. From then on its lines and the changes of the inventory are shown.
    pub(crate) async fn watch(&mut self, rig: &VmRig) -> Result<()> {
        let program = rig.control_plane().kubectl_path();
        let log = rig.directory().join("watch.log");
        let mut spec = ProcessSpec::new("kubectl", program, ["get", "vg", "-w"], log);
        spec.env.push(("KUBECONFIG".to_owned(), rig.control_plane().kubeconfig().into()));
        spec.env.push(("KUBECACHEDIR".to_owned(), rig.directory().join("kubectl-cache").into()));
        self.watch = Some(Process::spawn(spec)?);
        self.say(
            "$ kubectl get vg -w &      (its lines begin with \"vg\", the vCenter's inventory with \"vc\")",
        );
        self.inventory = inventory(rig).await?;
        Ok(())
    }

    /// Runs `work` and shows the changes meanwhile.
    pub(crate) async fn during<T>(
        &mut self,
        rig: &VmRig,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = tokio::time::sleep(TICK) => self.changes(rig).await?,
            }
        };
        for _ in 0..AFTERMATH {
            tokio::time::sleep(TICK).await;
            self.changes(rig).await?;
        }
        done
    }

    /// Shows the changes since the previous call.
    async fn changes(&mut self, rig: &VmRig) -> Result<()> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let now = inventory(rig).await?;
        for (path, state) in &now {
            match self.inventory.get(path) {
                None => println!("   vc | + {path}  {state}"),
                Some(before) if before != state => println!("   vc |   {path}  {state}"),
                Some(_) => {}
            }
        }
        for path in self.inventory.keys().filter(|path| !now.contains_key(*path)) {
            println!("   vc | - {path}");
        }
        self.inventory = now;

        let output = fs::read_to_string(watch.log_path()).unwrap_or_default();
        let new = output.get(self.watched..).unwrap_or_default();
        let whole = new.rfind('\n').map_or("", |end| new.get(..=end).unwrap_or_default());
        whole.lines().for_each(|line| println!("   vg | {}", line.trim_end()));
        self.watched += whole.len();
        Ok(())
    }
}

/// Runs a kubectl command and returns its stdout.
pub(crate) async fn kubectl(rig: &VmRig, command: &str) -> Result<String> {
    // The quotes are for a shell; no argument contains a blank.
    let arguments: Vec<_> = command.split_whitespace().map(|argument| argument.trim_matches('\'')).collect();
    rig.kubectl(&arguments).await
}

/// Returns the operator's folders and machines in the vCenter, with a description of each.
async fn inventory(rig: &VmRig) -> Result<BTreeMap<String, String>> {
    let ours = |path: &str| path.starts_with("/DC0/vm/vm-operator/");
    let folders = rig.vcenter.folders().await?;
    let folders = folders.into_iter().filter(|path| ours(path)).map(|path| (path, "folder".to_owned()));
    let machines = rig.vcenter.vms().await?;
    let machines = machines.into_iter().filter(|vm| ours(&vm.path)).map(|vm| {
        let state = format!("{}, {} CPU, {} MB", vm.power, vm.cpu, vm.memory_mb);
        (vm.path, state)
    });
    Ok(folders.chain(machines).collect())
}
