//! Where this client works: datacenter, root folder and resource pool, found by name. Owns the messages that say which
//! name does not fit and which would; never chooses between two. Creates the levels of the root folder that are
//! missing, unless it was renamed or moved.

mod choice;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use vim_rs::types::structs::PropertyFilterSpec;

use self::choice::{Chosen, choose};
use super::config::{Config, RecordedVm};
use super::inventory::{Inventory, Vm};
use super::updates::read_once;
use crate::vsphere::name::{escape, to_send};
use crate::vsphere::paths::{Paths, segments};
use crate::vsphere::properties::{ObjectUpdate, exists, filter, hidden, object, properties, traverse};
use crate::vsphere::session::Core;
use crate::vsphere::soap::Call;
use crate::vsphere::{Error, Kind, MoRef};

/// Where this client works.
#[derive(Debug)]
pub(super) struct Site {
    /// The datacenter's inventory path.
    pub(super) datacenter: String,
    pub(super) vm_folder: MoRef,
    pub(super) root: MoRef,
    pub(super) pool: MoRef,
}

/// The site, once found, and whether it has to be found again.
#[derive(Debug)]
pub(super) struct Sites {
    current: watch::Sender<Option<Arc<Site>>>,
    /// An object of the site turned out not to exist.
    stale: AtomicBool,
    finding: tokio::sync::Mutex<()>,
}

impl Default for Sites {
    fn default() -> Self {
        Self {
            current: watch::Sender::new(None),
            stale: AtomicBool::new(false),
            finding: tokio::sync::Mutex::default(),
        }
    }
}

impl Sites {
    /// Returns the site as it was last found.
    pub(super) fn current(&self) -> Option<Arc<Site>> {
        self.current.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<Site>>> {
        self.current.subscribe()
    }

    /// Has the site found again before it is next used.
    pub(super) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Returns the site, and finds it if it was not found yet or is stale. Callers at one time share one search.
    pub(super) async fn find(&self, core: &Core, config: &Config) -> Result<Arc<Site>, Error> {
        let _one_at_a_time = self.finding.lock().await;
        let stale = self.stale.swap(false, Ordering::AcqRel);
        if let Some(site) = self.current().filter(|_| !stale) {
            return Ok(site);
        }
        match Site::find(core, config, self.current().as_deref()).await {
            Ok(site) => {
                let site = Arc::new(site);
                self.current.send_replace(Some(site.clone()));
                Ok(site)
            }
            Err(error) => {
                self.stale.store(stale, Ordering::Release);
                Err(error)
            }
        }
    }
}

impl Site {
    /// Finds the site with one call, and one more for each level of the root folder that is missing, which it creates. `known`: what was
    /// found before.
    async fn find(core: &Core, config: &Config, known: Option<&Self>) -> Result<Self, Error> {
        let levels = levels_of(config)?;
        let top = &core.roots().await?.folder;
        let objects = core.retrieve(&site_filter(top, levels.len())).await?;
        let paths = Paths::of(&objects);
        if let Some(known) = known {
            known.check_not_hidden(core, &objects).await?;
        }
        let Chosen { datacenter: name, vm_folder, pool } = choose(&objects, &paths, top, config, known)?;
        let place = Place { objects: &objects, paths: &paths, vm_folder: &vm_folder, datacenter: &name };
        let root = match place.find_root(&levels) {
            Ok(root) => root,
            Err(missing) => {
                Box::pin(check_not_moved(core, config, &place, &levels)).await?;
                missing.create(core).await?
            }
        };
        tracing::info!(datacenter = name, %root, %pool, "working in");
        Ok(Self { datacenter: name, vm_folder, root, pool })
    }

    /// Fails if this site's datacenter is hidden, and not gone: another one would have none of what is in it.
    async fn check_not_hidden(&self, core: &Core, objects: &[ObjectUpdate]) -> Result<(), Error> {
        let is_here = |object: &ObjectUpdate| object.moref("vmFolder").as_ref() == Some(&self.vm_folder);
        if objects.iter().any(is_here) || !exists(core, core.call_timeout(), &self.vm_folder).await? {
            return Ok(());
        }
        let message = format!(
            "the account does not see the datacenter {:?} any more, where this client works, and needs System.View there",
            self.datacenter
        );
        Err(Error::new(Kind::Forbidden, message))
    }

    /// Returns whether the root folder is still where the settings say, which one call reads. Creates nothing. Where the settings would not
    /// be enough to find the site again, as once there is a second datacenter, the log says so: what was found stays in use.
    ///
    /// # Errors
    /// The call fails.
    pub(super) async fn is_in_place(&self, core: &Core, config: &Config) -> Result<bool, Error> {
        let levels = levels_of(config)?;
        let top = &core.roots().await?.folder;
        let objects = core.retrieve(&site_filter(top, levels.len())).await?;
        let paths = Paths::of(&objects);
        let problem = match choose(&objects, &paths, top, config, None) {
            Ok(chosen) => (chosen.vm_folder != self.vm_folder)
                .then(|| format!("the settings lead to the datacenter {:?} now", chosen.datacenter)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            let datacenter = &self.datacenter;
            tracing::warn!(
                problem,
                "the datacenter {datacenter:?} stays in use, and would not be found after a restart"
            );
        }
        let place = Place {
            objects: &objects,
            paths: &paths,
            vm_folder: &self.vm_folder,
            datacenter: &self.datacenter,
        };
        Ok(place.find_root(&levels).is_ok_and(|root| root == self.root))
    }
}

/// Returns the names of the root folder and of the folders above it, the outermost first.
fn levels_of(config: &Config) -> Result<Vec<String>, Error> {
    let levels: Vec<String> = segments(&config.root_folder).collect();
    if levels.is_empty() {
        return Err(Error::new(Kind::Config, "the root folder's path is empty: name a folder"));
    }
    Ok(levels)
}

/// Selects the datacenters, the clusters and pools in each, and the VM folders in each down to that many levels.
fn site_filter(top: &MoRef, levels: usize) -> PropertyFilterSpec {
    let vm_level = |level: usize| format!("vms{level}");
    let mut traversals = vec![
        traverse("folders", "Folder", "childEntity", &["folders", "hosts", "vms"]),
        traverse("hosts", "Datacenter", "hostFolder", &["hostFolders"]),
        traverse("hostFolders", "Folder", "childEntity", &["hostFolders", "roots"]),
        traverse("roots", "ComputeResource", "resourcePool", &["pools"]),
        traverse("pools", "ResourcePool", "resourcePool", &["pools"]),
        traverse("vms", "Datacenter", "vmFolder", &[vm_level(1).as_str()]),
    ];
    for level in 1..=levels {
        let next = vm_level(level + 1);
        let next: &[&str] = if level < levels { &[next.as_str()] } else { &[] };
        traversals.push(traverse(&vm_level(level), "Folder", "childEntity", next));
    }
    filter(
        vec![
            properties("Datacenter", &["name", "parent", "vmFolder", "hostFolder"]),
            properties("Folder", &["name", "parent"]),
            properties("ComputeResource", &["name", "parent", "resourcePool"]),
            properties("ResourcePool", &["name", "parent"]),
        ],
        vec![object(top.to_vim(), true, traversals)],
    )
}

/// Where the root folder is looked for.
struct Place<'a> {
    objects: &'a [ObjectUpdate],
    paths: &'a Paths,
    vm_folder: &'a MoRef,
    datacenter: &'a str,
}

/// The levels of the root folder that do not exist.
struct MissingLevels<'a> {
    parent: MoRef,
    /// The parent's path.
    path: String,
    levels: &'a [String],
}

impl Place<'_> {
    fn find_root<'l>(&self, levels: &'l [String]) -> Result<MoRef, MissingLevels<'l>> {
        let mut parent = self.vm_folder.clone();
        let mut path = format!("{}/vm", self.datacenter);
        for (i, name) in levels.iter().enumerate() {
            let found = self.objects.iter().find(|object| {
                object.obj.kind() == "Folder"
                    && self.paths.parent(&object.obj) == Some(&parent)
                    && object.name() == *name
            });
            let Some(found) = found else { return Err(MissingLevels { parent, path, levels: &levels[i..] }) };
            parent = found.obj.clone();
            path = format!("{path}/{}", escape(name));
        }
        Ok(parent)
    }
}

impl MissingLevels<'_> {
    async fn create(self, core: &Core) -> Result<MoRef, Error> {
        let (mut at, mut path) = (self.parent, self.path);
        for name in self.levels {
            at = create_level(core, &at, name, &path).await?;
            path = format!("{path}/{}", escape(name));
        }
        Ok(at)
    }
}

/// Folders in which a VM is looked for that tells where the root folder is now.
const SEARCHED: usize = 10;

/// Fails if a VM exists that was made under the root folder, which does not: another root folder would have none of them. One that the account
/// may not see exists.
async fn check_not_moved(
    core: &Core,
    config: &Config,
    place: &Place<'_>,
    levels: &[String],
) -> Result<(), Error> {
    let Some(recorded) = &config.recorded else { return Ok(()) };
    let connected = &*core.roots().await?.vcenter;
    let is_here = |vm: &RecordedVm| vm.vcenter.as_deref().is_none_or(|vcenter| vcenter == connected);
    let levels: Vec<_> = levels.iter().map(|level| escape(level)).collect();
    let root = format!("the folder {} does not exist in {}/vm", levels.join("/"), place.datacenter);
    let recorded = recorded.list().await.map_err(|problem| {
        let text = format!("{root}, and whether it was renamed is not known: {problem}");
        Error::new(Kind::RootFolderUnknown, text)
    })?;
    let recorded: Vec<_> = recorded.into_iter().filter(is_here).collect();
    let morefs: Vec<_> = recorded.iter().map(|vm| vm.moref.clone()).collect();
    let mut read = Inventory::new(config.marker_prefix.clone());
    for update in read_once(core, &morefs).await? {
        read.apply(&update, Instant::now());
    }
    // One of others may have the reference by now.
    let is_recorded = |vm: &&Arc<Vm>| {
        let mut records = recorded.iter().filter(|recorded| recorded.moref == vm.moref);
        vm.markers.is_none()
            || records.any(|recorded| vm.marker(recorded.marker.0) == Some(&recorded.marker.1))
    };
    // An administrator may have moved some of them elsewhere.
    let mut folders = HashSet::new();
    let found = read.vms().filter(is_recorded).filter(|vm| folders.insert(vm.parent.clone()));
    let mut elsewhere = None;
    for vm in found.take(SEARCHED) {
        let (folders, below) = folders_of(core, place, vm).await?;
        let found = found_in(&folders, &escape(&vm.name), below);
        let is_in_root = found.is_ok();
        elsewhere = Some(found.unwrap_or_else(|text| text));
        if is_in_root {
            break;
        }
    }
    if let Some(found) = elsewhere {
        return Err(Error::new(Kind::RootFolderMoved, format!("{root}, and {found}")));
    }
    let absent: Vec<_> = morefs.into_iter().filter(|moref| read.vm(moref).is_none()).collect();
    for some in absent.chunks(SEARCHED) {
        if let Some(vm) = hidden(core, || core.call_timeout(), some.to_vec()).await?.first() {
            let message = format!(
                "{root}, and whether it was renamed or moved is not known: the account may not see {vm}, which was made by this client, and needs System.View on it and on what it is in; if none of its machines is to be kept, create the folder by hand"
            );
            return Err(Error::new(Kind::Forbidden, message));
        }
    }
    Ok(())
}

/// Reads the names of the folders that a VM is in, from the outermost; whether that one is in the VM folder.
async fn folders_of(core: &Core, place: &Place<'_>, vm: &Vm) -> Result<(Vec<String>, bool), Error> {
    let (mut folders, mut parent) = (Vec::new(), vm.parent.clone());
    while let Some(folder) = parent.as_ref().filter(|folder| *folder != place.vm_folder) {
        let Some(read) = read_once(core, std::slice::from_ref(folder)).await?.pop() else { break };
        folders.push(escape(&read.name()).into_owned());
        parent = read.moref("parent").filter(|parent| parent.kind() == "Folder");
    }
    folders.reverse();
    Ok((folders, parent.as_ref() == Some(place.vm_folder)))
}

/// Says where a VM is that was made in a folder of another root folder: in these folders, the first of which is in the
/// VM folder if `below`. Paths are as the setting of the root folder has them. An error if that is no other root folder.
fn found_in(folders: &[String], vm: &str, below: bool) -> Result<String, String> {
    let path = [folders, &[vm.to_owned()]].concat().join("/");
    match folders {
        // The last is the folder that the VM was made in.
        [root @ .., _] if below && !root.is_empty() => Ok(format!(
            "virtual machines that were made by this client are in {}, such as {path}",
            root.join("/")
        )),
        _ => Err(format!("virtual machines that were made by this client are elsewhere, such as {path}")),
    }
}

/// Creates one level of the root folder in the folder `parent`, whose path is `path`.
async fn create_level(core: &Core, parent: &MoRef, name: &str, path: &str) -> Result<MoRef, Error> {
    match create_folder(core, parent, name).await {
        Ok(folder) => {
            tracing::info!(path, name, %folder, "created a level of the root folder");
            Ok(folder)
        }
        // Another client was faster, or the folder is hidden from this account.
        Err(error) if error.kind() == Kind::DuplicateName => match error.object() {
            Some(folder) if folder.kind() == "Folder" => Ok(folder.clone()),
            _ => Err(error.explained(format!(
                "an object in {path} has the name {name} and is not a folder: rename it, a folder of that name is needed"
            ))),
        },
        Err(error) if matches!(error.kind(), Kind::Invalid | Kind::NotSupported) => {
            let fault = error.fault().unwrap_or_default().to_owned();
            Err(error.explained(format!("the folder {name} cannot be created in {path} ({fault})")))
        }
        Err(error) if error.kind() == Kind::Forbidden => Err(error.explained(format!(
            "the folder {path}/{name} does not exist and the account may not create it: have a vCenter administrator create it and grant the account rights on it, or grant Folder.Create on {path}"
        ))),
        Err(error) => Err(error),
    }
}

/// Creates a folder.
pub(super) async fn create_folder(core: &Core, parent: &MoRef, name: &str) -> Result<MoRef, Error> {
    let name = &*to_send(name);
    core.change(&Call::new("CreateFolder", parent).with("name", &name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_folder_as_the_setting_has_it() {
        let text = |folders: &[&str], below| {
            found_in(&folders.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), "x", below)
        };
        for (folders, below, is) in [
            (&["old-vms", "team.web"][..], true, "in old-vms, such as old-vms/team.web/x"),
            (&["a", "b", "team.web"], true, "in a/b, such as a/b/team.web/x"),
            // Moved out of its folder, or in another datacenter.
            (&["attic"], true, "elsewhere, such as attic/x"),
            (&[], true, "elsewhere, such as x"),
            (&["vm", "old-vms", "team.web"], false, "elsewhere, such as vm/old-vms/team.web/x"),
        ] {
            let wanted = format!("virtual machines that were made by this client are {is}");
            let is_root = !is.starts_with("elsewhere");
            assert_eq!(text(folders, below), if is_root { Ok(wanted) } else { Err(wanted) });
        }
    }
}
