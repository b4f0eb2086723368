//! Where this client works: datacenter, root folder and resource pool, found by name. Owns the messages that say which
//! name does not fit and which would; never chooses between two. Creates the levels of the root folder that are
//! missing, unless it was renamed or moved.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use vim_rs::types::structs::PropertyFilterSpec;

use super::config::{Config, RecordedVm};
use super::inventory::{Inventory, Vm};
use super::updates::read_once;
use crate::vsphere::name::{escape, to_send};
use crate::vsphere::paths::{Paths, list, normal, segments};
use crate::vsphere::properties::{ObjectUpdate, filter, object, properties, traverse};
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
        match Site::find(core, config).await {
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
    /// Finds the site with one call, and one more for each level of the root folder that is missing.
    pub(super) async fn find(core: &Core, config: &Config) -> Result<Self, Error> {
        let levels: Vec<String> = segments(&config.root_folder).collect();
        if levels.is_empty() {
            return Err(Error::new(Kind::Config, "the root folder's path is empty: name a folder"));
        }
        let top = &core.roots().await?.folder;
        let objects = core.retrieve(&site_filter(top, levels.len())).await?;
        let paths = Paths::of(&objects);
        let datacenter = find_datacenter(&objects, &paths, top, config.datacenter.as_deref())?;
        let name = paths.path(&datacenter.obj, top);
        let folder = |path| {
            datacenter.moref(path).ok_or_else(|| {
                let message = format!(
                    "the account cannot read the datacenter {name:?}: have a vCenter administrator grant it System.Read there"
                );
                Error::new(Kind::Forbidden, message)
            })
        };
        let (vm_folder, host_folder) = (folder("vmFolder")?, folder("hostFolder")?);
        let pool = find_pool(&objects, &paths, (top, &host_folder), config.resource_pool.as_deref(), &name)?;
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

fn find_datacenter<'a>(
    objects: &'a [ObjectUpdate],
    paths: &Paths,
    top: &MoRef,
    wanted: Option<&str>,
) -> Result<&'a ObjectUpdate, Error> {
    let all: Vec<(String, &ObjectUpdate)> = objects
        .iter()
        .filter(|object| object.obj.kind() == "Datacenter")
        .map(|object| (paths.path(&object.obj, top), object))
        .collect();
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    let found: Vec<_> = all
        .iter()
        .filter(|(path, object)| {
            wanted.is_none_or(|wanted| object.name() == wanted || *path == normal(wanted))
        })
        .collect();
    let error = |kind, message| Err(Error::new(kind, message));
    match (found.as_slice(), wanted) {
        ([(_, object)], _) => Ok(object),
        ([], None) => error(Kind::Config, "the account sees no datacenter in this vCenter".to_owned()),
        ([], Some(wanted)) if names.is_empty() => error(
            Kind::Config,
            format!("there is no datacenter {wanted:?}; the account sees no datacenter at all"),
        ),
        ([], Some(wanted)) => {
            error(Kind::Config, format!("there is no datacenter {wanted:?}, only {}", list(&names)))
        }
        (_, None) => error(
            Kind::Ambiguous,
            format!(
                "this vCenter has {} datacenters ({}): set the datacenter to use",
                names.len(),
                list(&names)
            ),
        ),
        (_, Some(wanted)) => error(
            Kind::Ambiguous,
            format!(
                "{} datacenters have the name {wanted} ({}): set the datacenter to one of these paths",
                found.len(),
                list(&names)
            ),
        ),
    }
}

/// A resource pool that could be meant.
struct Candidate {
    /// `cluster/Resources/pool`.
    path: String,
    /// `datacenter/host/cluster/Resources/pool`.
    inventory_path: String,
    name: String,
    /// For a root pool, the name of its cluster or host.
    cluster: Option<String>,
    moref: MoRef,
}

impl Candidate {
    /// Returns whether a person means it: by a name, by its path, or by its inventory path.
    fn fits(&self, wanted: Option<&str>) -> bool {
        match wanted {
            None => self.cluster.is_some(),
            Some(wanted) => {
                let path = normal(wanted);
                self.cluster.as_deref() == Some(wanted)
                    || (self.cluster.is_none() && self.name == wanted)
                    || [&self.path, &self.inventory_path].contains(&&path)
            }
        }
    }
}

fn candidates(objects: &[ObjectUpdate], paths: &Paths, top: &MoRef, hosts: &MoRef) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let clusters = objects.iter().filter(|object| {
        object.obj.kind().ends_with("ComputeResource") && paths.is_under(&object.obj, hosts)
    });
    for cluster in clusters {
        let Some(root) = cluster.moref("resourcePool") else { continue };
        let pools = objects
            .iter()
            .filter(|object| object.obj.kind() == "ResourcePool" && paths.is_under(&object.obj, &root));
        candidates.extend(pools.map(|pool| Candidate {
            path: format!("{}/{}", escape(&cluster.name()), paths.path(&pool.obj, &cluster.obj)),
            inventory_path: paths.path(&pool.obj, top),
            name: pool.name(),
            cluster: (pool.obj == root).then(|| cluster.name()),
            moref: pool.obj.clone(),
        }));
    }
    candidates
}

fn find_pool(
    objects: &[ObjectUpdate],
    paths: &Paths,
    (top, hosts): (&MoRef, &MoRef),
    wanted: Option<&str>,
    datacenter: &str,
) -> Result<MoRef, Error> {
    let candidates = candidates(objects, paths, top, hosts);
    let found: Vec<_> = candidates.iter().filter(|candidate| candidate.fits(wanted)).collect();
    let names = |candidates: &[&Candidate]| {
        list(&candidates.iter().map(|candidate| &candidate.path).collect::<Vec<_>>())
    };
    let error = |kind, message| Err(Error::new(kind, message));
    match (found.as_slice(), wanted) {
        ([pool], _) => Ok(pool.moref.clone()),
        ([], None) => error(
            Kind::Config,
            format!(
                "the account sees no resource pool in datacenter {datacenter:?}: it has no cluster or host, or the account lacks rights on them"
            ),
        ),
        ([], Some(wanted)) => error(
            Kind::Config,
            format!(
                "there is no resource pool {wanted:?} in datacenter {datacenter:?}, only {}",
                names(&candidates.iter().collect::<Vec<_>>())
            ),
        ),
        (some, None) => error(
            Kind::Ambiguous,
            format!(
                "datacenter {datacenter:?} has {} clusters or hosts ({}): set the resource pool to use",
                some.len(),
                names(some)
            ),
        ),
        (some, Some(wanted)) => error(
            Kind::Ambiguous,
            format!(
                "{wanted} fits {} resource pools ({}): set the resource pool to one of these paths",
                some.len(),
                names(some)
            ),
        ),
    }
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

/// Fails if a VM exists that was made under the root folder, which does not: another root folder would have none of them.
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
    let Some(found) = elsewhere else { return Ok(()) };
    Err(Error::new(Kind::RootFolderMoved, format!("{root}, and {found}")))
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
    core.call_for_moref(&Call::new("CreateFolder", parent).with("name", &name)).await
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

    #[test]
    fn a_resource_pool_has_a_name_and_two_paths() {
        let pool = |path: &str, name: &str, cluster: Option<&str>| Candidate {
            path: path.to_owned(),
            inventory_path: format!("DC0/host/lab/{path}"),
            name: name.to_owned(),
            cluster: cluster.map(str::to_owned),
            moref: MoRef::new("ResourcePool", "resgroup-1"),
        };
        let (web, root) =
            (pool("C0/Resources/web", "web", None), pool("C0/Resources", "Resources", Some("C0")));
        for (wanted, fits) in [
            (None, [false, true]),
            (Some("web"), [true, false]),
            (Some("C0"), [false, true]),
            (Some("Resources"), [false, false]),
            (Some("C0/Resources/web"), [true, false]),
            (Some("/DC0/host/lab/C0/Resources/web"), [true, false]),
            (Some("DC0/host/lab/C0/Resources"), [false, true]),
            (Some("/DC1/host/lab/C0/Resources/web"), [false, false]),
        ] {
            assert_eq!([web.fits(wanted), root.fits(wanted)], fits, "{wanted:?}");
        }
    }
}
