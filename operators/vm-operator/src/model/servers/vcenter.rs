//! The vCenter, as the simulator is one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use infra_clients::Secret;
use infra_clients::vsphere::vms::{self, CloneSpec, Link, Template, Vms};
use infra_clients::vsphere::{Config, Error, Kind, MoRef, PowerState, Session, Trust};
use testbed::{Random, Vcsim, eventually};

use crate::api::OWNER_MARKER;

use super::super::vcenter::{Call, Fault, NO_SLOT, TaskState, Vcenter, Vm};
use super::{Pair, below, run_all, walk};

/// Sequences at a time: they share the polls.
const PARALLEL: usize = 100;
const SOON: Duration = Duration::from_mins(3);
/// Where machines are moved to.
const ELSEWHERE: &str = "/DC0/vm";

struct Server<'a> {
    sim: &'a Vcsim,
    vms: &'a Vms,
    template: &'a MoRef,
    seed: u64,
    model: Vcenter,
    folders: BTreeMap<u8, MoRef>,
    machines: BTreeMap<u8, MoRef>,
    /// Instances that a machine was requested for.
    numbers: u8,
}

/// The fault of the model that an error is.
fn fault_of(error: &Error) -> Result<Fault> {
    Ok(match error.kind() {
        Kind::NotFound => Fault::NotFound,
        Kind::DuplicateName => Fault::DuplicateName,
        Kind::InvalidPowerState => Fault::InvalidPowerState,
        Kind::Busy => Fault::Busy,
        kind => anyhow::bail!("the model has no {kind:?}: {error}"),
    })
}

impl Server<'_> {
    fn folder_name(&self) -> String {
        format!("team.s{}", self.seed)
    }

    fn uuid(&self, number: u8) -> String {
        format!("00000000-0000-0000-{:04x}-{number:012x}", self.seed)
    }

    fn marker(&self, number: u8, slot: u8) -> String {
        format!("s{}/{number}/{slot}", self.seed)
    }

    fn vm_name(&self, id: u8, slot: u8) -> String {
        // Outside of its folder a machine must not have the name of another sequence's.
        if slot == NO_SLOT { format!("s{}-other-{id}", self.seed) } else { format!("s{}-{slot}", self.seed) }
    }

    fn moref(&self, id: u8) -> MoRef {
        self.machines.get(&id).cloned().unwrap_or_else(|| MoRef::new("VirtualMachine", "vm-999999"))
    }

    /// Chooses what happens next; `None` if it does not fit into the model.
    fn choose(&mut self, random: &mut Random) -> Option<Call> {
        let (vm, slot) = (below(random, 3), below(random, 2));
        let folder = self.model.folder.unwrap_or(0);
        Some(match below(random, 10) {
            0 => Call::CreateFolder,
            1 => Call::RemoveFolder(folder),
            2..=4 if self.model.used.vms.count_ones() < 4 && !self.folders.is_empty() => {
                self.numbers += 1;
                Call::Clone { number: self.numbers, slot, folder }
            }
            5 => Call::Mark { vm, number: 15, slot },
            6 => Call::PowerOn(vm),
            7 => Call::PowerOff(vm),
            8 => Call::Destroy(vm),
            _ => return None,
        })
    }

    /// Sends a call, and waits for the end of its task.
    async fn send(&mut self, call: Call) -> Result<Result<(), Error>> {
        let vms = self.vms;
        let answer = match call {
            Call::CreateFolder => match vms.create_folder(&self.folder_name()).await {
                Ok(folder) => {
                    self.folders.insert(self.model.folder.context("the model has no folder")?, folder);
                    return Ok(Ok(()));
                }
                Err(error) => Err(error),
            },
            Call::RemoveFolder(folder) => vms.remove_folder(&self.folder(folder)?).await,
            Call::Clone { number, slot, folder } => {
                let (folder, uuid, marker) =
                    (self.folder(folder)?, self.uuid(number), self.marker(number, slot));
                let spec = CloneSpec {
                    template: self.template,
                    folder: &folder,
                    name: &self.vm_name(0, slot),
                    instance_uuid: &uuid,
                    cpus: 1,
                    memory_mb: 1024,
                    power_on: true,
                    extra_config: &[(OWNER_MARKER, &marker)],
                    op_id: "model",
                };
                vms.clone_vm(&spec).await
            }
            Call::Mark { vm, number, slot } => {
                vms.set_extra_config(&self.moref(vm), &[(OWNER_MARKER, &self.marker(number, slot))]).await
            }
            Call::PowerOn(vm) => vms.power_on(&self.moref(vm)).await,
            Call::PowerOff(vm) => vms.power_off(&self.moref(vm)).await,
            Call::Destroy(vm) => vms.destroy(&self.moref(vm)).await,
        };
        let task = match answer {
            Ok(task) => task,
            Err(error) => return Ok(Err(error)),
        };
        let ended = eventually("the task to end", SOON, async || {
            vms.fresh().await?;
            Ok(vms.read(|inventory| inventory.task(&task).filter(|task| task.state.ended()).cloned()))
        });
        Ok(ended.await?.error.clone().map_or(Ok(()), Err))
    }

    fn folder(&self, number: u8) -> Result<MoRef> {
        self.folders.get(&number).cloned().context("no folder")
    }

    /// Does what an administrator does.
    async fn administrate(&mut self, random: &mut Random) -> Result<String> {
        let id = below(random, 3);
        let Some(vm) = self.model.vm(id).filter(|vm| vm.folder.is_some()) else {
            return Ok("nothing".to_owned());
        };
        let folder = format!("/DC0/vm/vm-operator/{}", self.folder_name());
        let path = format!("{folder}/{}", self.vm_name(id, vm.slot));
        let what = match below(random, 4) {
            0 if self.model.used.vms.count_ones() < 4 => {
                let copy = Vm { uuid: 0, slot: NO_SLOT, on: false, ..vm };
                let id = self.model.add(copy).context("no place")?;
                self.sim.copy_vm(&path, &folder, &self.vm_name(id, NO_SLOT)).await?;
                "copy"
            }
            1 => {
                self.model.vms[usize::from(id)] = None;
                self.sim.unregister_vm(&path).await?;
                "remove"
            }
            2 => {
                // The folder elsewhere has one machine of each name.
                let is_free =
                    self.model.machines().all(|(_, other)| other.folder.is_some() || other.slot != vm.slot);
                if !is_free {
                    return Ok("nothing".to_owned());
                }
                self.model.vms[usize::from(id)] = Some(Vm { folder: None, ..vm });
                self.sim.move_vm(&path, ELSEWHERE).await?;
                "move"
            }
            _ => {
                self.model.vms[usize::from(id)] = Some(Vm { on: false, ..vm });
                self.sim.power_off(&path).await?;
                "power off"
            }
        };
        Ok(format!("{what} {id}"))
    }
}

impl Pair for Server<'_> {
    async fn step(&mut self, random: &mut Random) -> Result<String> {
        // A group first has a folder and a machine.
        let call = match self.folders.len() {
            0 => Some(Call::CreateFolder),
            _ => self.choose(random),
        };
        let Some(call) = call else { return self.administrate(random).await };
        let model = match self.model.call(call) {
            Ok(Some(task)) => {
                self.model.end(task);
                let state = self.model.tasks.iter().find(|known| known.id == task).map(|task| task.state);
                match state {
                    Some(TaskState::Error(fault)) => Err(fault),
                    _ => Ok(()),
                }
            }
            Ok(None) => Ok(()),
            Err(fault) => Err(fault),
        };
        let real = match self.send(call).await? {
            Ok(()) => Ok(()),
            Err(error) => Err(fault_of(&error)?),
        };
        ensure!(real == model, "{call:?}: real {real:?}, model {model:?}");
        Ok(format!("{call:?}: {model:?}"))
    }

    /// Compares the folder of the simulator with that of the model, by a refreshed inventory.
    async fn compare(&mut self) -> Result<()> {
        self.vms.fresh().await?;
        let Some(number) = self.model.folder else {
            let name = self.folder_name();
            ensure!(self.vms.read(|inventory| inventory.folder_named(&name).is_none()), "there is a folder");
            return Ok(());
        };
        let folder = self.folder(number)?;
        let (children, real) = self.vms.read(|inventory| {
            let children = inventory.folder(&folder).map(|folder| folder.children);
            (children, inventory.vms_in(&folder).map(|vm| vm.as_ref().clone()).collect::<Vec<_>>())
        });
        ensure!(children == Some(self.model.children().into()), "children {children:?}");
        let expected: Vec<_> = self.model.machines().filter(|(_, vm)| vm.folder == Some(number)).collect();
        ensure!(real.len() == expected.len(), "real {real:?}, model {expected:?}");
        for (id, vm) in expected {
            let name = self.vm_name(id, vm.slot);
            let found = real.iter().find(|real| *real.name == *name).context("no machine of this name")?;
            let known = self.machines.entry(id).or_insert_with(|| found.moref.clone()).clone();
            let owner = (vm.owner != 0).then(|| self.marker(vm.owner, vm.owner_slot));
            let power = if vm.on { PowerState::On } else { PowerState::Off };
            let has_uuid = vm.uuid == 0 || found.instance_uuid.as_deref() == Some(&*self.uuid(vm.uuid));
            ensure!(
                known == found.moref
                    && found.power == Some(power)
                    && found.marker(OWNER_MARKER) == owner.as_deref()
                    && has_uuid,
                "real {found:?}, model {vm:?}"
            );
        }
        Ok(())
    }
}

async fn sequence(sim: &Vcsim, vms: &Vms, template: &MoRef, seed: u64) -> Result<()> {
    let (folders, machines) = (BTreeMap::new(), BTreeMap::new());
    let model = Vcenter::default();
    let server = Server { sim, vms, template, seed, model, folders, machines, numbers: 0 };
    walk(server, seed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vcenter_does_what_the_model_does() {
    let sim = Vcsim::start().await.unwrap();
    let mut config = Config::new(sim.host(), sim.user(), Secret::new(sim.password()));
    config.trust = Trust::CaBundle(sim.ca_pem().into());
    let session = Session::start(config).unwrap();
    let config = vms::Config {
        marker_prefix: "vmgroup/".to_owned(),
        poll_burst: 1_000,
        poll_interval: Duration::from_millis(20),
        ..vms::Config::new("vm-operator")
    };
    let vms = Vms::start(session, config);
    vms.link().wait_for(Link::is_up).await.unwrap();
    let template = eventually("the template to be known", SOON, async || {
        vms.request_template("photon");
        Ok(match vms.template("photon") {
            Template::Known(moref) => Some(moref),
            _ => None,
        })
    });
    let template = template.await.unwrap();
    run_all(PARALLEL, |seed| sequence(&sim, &vms, &template, seed)).await;
}
