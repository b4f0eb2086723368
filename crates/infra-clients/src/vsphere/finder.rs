//! Finding things by name, once: datacenter, root folder, resource pool, templates. Owns the
//! messages that tell a person which name did not fit and what would; never guesses between two.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vim_rs::mo;

use super::config::Config;
use super::error::{Error, Kind};
use super::moref::MoRef;
use super::name::{escape, to_send, unescape};
use super::session::Session;
use super::updates::{ObjectUpdate, filter, object, properties, traverse};

/// Where this client works.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) datacenter: String,
    pub(super) vm_folder: MoRef,
    pub(super) root: MoRef,
    pub(super) pool: MoRef,
}

impl Site {
    /// Four calls, five if the root folder has to be made.
    pub(super) async fn find(session: &Session, config: &Config) -> Result<Self, Error> {
        let (datacenter, vm_folder, host_folder) =
            find_datacenter(session, config.datacenter.as_deref()).await?;
        let pool = find_pool(session, &host_folder, config.resource_pool.as_deref(), &datacenter).await?;
        let root = find_root(session, &vm_folder, &config.root_folder, &datacenter).await?;
        tracing::info!(datacenter, root = %root, pool = %pool, "working in");
        Ok(Self { datacenter, vm_folder, root, pool })
    }
}

/// Inventory paths by reference, from objects with `name` and `parent`.
struct Paths(HashMap<MoRef, (String, Option<MoRef>)>);

impl Paths {
    fn of(objects: &[ObjectUpdate]) -> Self {
        let entry = |object: &ObjectUpdate| (object.obj.clone(), (object.name(), object.moref("parent")));
        Self(objects.iter().map(entry).collect())
    }

    /// The escaped names from below `top` down to the object, joined by slashes.
    fn path(&self, moref: &MoRef, top: &MoRef) -> String {
        let mut names = Vec::new();
        let mut at = Some(moref);
        while let Some((name, parent)) = at.filter(|at| *at != top).and_then(|at| self.0.get(at)) {
            names.push(escape(name));
            at = parent.as_ref();
        }
        names.reverse();
        names.join("/")
    }

    fn parent(&self, moref: &MoRef) -> Option<&MoRef> {
        self.0.get(moref)?.1.as_ref()
    }

    fn is_under(&self, moref: &MoRef, top: &MoRef) -> bool {
        let mut at = Some(moref);
        while let Some(here) = at {
            if here == top {
                return true;
            }
            at = self.0.get(here).and_then(|(_, parent)| parent.as_ref());
        }
        false
    }
}

/// A path as it was given, in the form [`Paths::path`] has.
fn normal(path: &str) -> String {
    path.trim_matches('/')
        .split('/')
        .map(|name| escape(&unescape(name)).into_owned())
        .collect::<Vec<_>>()
        .join("/")
}

/// At most five, for a message.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    let mut shown: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    shown.sort_unstable();
    let more = shown.len().saturating_sub(5);
    shown.truncate(5);
    let mut text = shown.join(", ");
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    text
}

async fn find_datacenter(session: &Session, wanted: Option<&str>) -> Result<(String, MoRef, MoRef), Error> {
    let top = session.root_object(|content| Some(&content.root_folder)).await?;
    let spec = filter(
        vec![
            properties("Datacenter", &["name", "parent", "vmFolder", "hostFolder"]),
            properties("Folder", &["name", "parent"]),
        ],
        vec![object(top.to_vim(), false, vec![traverse("folders", "Folder", "childEntity", &["folders"])])],
    );
    let objects = session.retrieve(&spec).await?;
    let paths = Paths::of(&objects);
    let all: Vec<(String, &ObjectUpdate)> = objects
        .iter()
        .filter(|object| object.obj.kind() == "Datacenter")
        .map(|object| (paths.path(&object.obj, &top), object))
        .collect();
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    let found: Vec<_> = all
        .iter()
        .filter(|(path, object)| {
            wanted.is_none_or(|wanted| object.name() == wanted || *path == normal(wanted))
        })
        .collect();
    match (found.as_slice(), wanted) {
        ([(path, object)], _) => {
            let folder = |path| {
                object.moref(path).ok_or_else(|| {
                    Error::new(
                        Kind::Forbidden,
                        format!("the account cannot read the datacenter {}", object.name()),
                    )
                })
            };
            Ok((path.clone(), folder("vmFolder")?, folder("hostFolder")?))
        }
        ([], None) => Err(Error::new(Kind::Config, "the account sees no datacenter in this vCenter")),
        ([], Some(wanted)) if names.is_empty() => Err(Error::new(
            Kind::Config,
            format!("there is no datacenter {wanted}; the account sees none at all"),
        )),
        ([], Some(wanted)) => {
            Err(Error::new(Kind::Config, format!("there is no datacenter {wanted}, only {}", list(&names))))
        }
        (_, None) => Err(Error::new(
            Kind::Ambiguous,
            format!(
                "this vCenter has {} datacenters ({}): set the datacenter to use",
                names.len(),
                list(&names)
            ),
        )),
        (_, Some(wanted)) => Err(Error::new(
            Kind::Ambiguous,
            format!(
                "{} datacenters are called {wanted} ({}): set the datacenter to one of these paths",
                found.len(),
                list(&names)
            ),
        )),
    }
}

async fn find_pool(
    session: &Session,
    hosts: &MoRef,
    wanted: Option<&str>,
    datacenter: &str,
) -> Result<MoRef, Error> {
    let spec = filter(
        vec![
            properties("ComputeResource", &["name", "resourcePool"]),
            properties("ResourcePool", &["name", "parent"]),
        ],
        vec![object(
            hosts.to_vim(),
            true,
            vec![
                traverse("folders", "Folder", "childEntity", &["folders", "roots"]),
                traverse("roots", "ComputeResource", "resourcePool", &["pools"]),
                traverse("pools", "ResourcePool", "resourcePool", &["pools"]),
            ],
        )],
    );
    let objects = session.retrieve(&spec).await?;
    let paths = Paths::of(&objects);
    // Every pool with its path and, for a root pool, the name of its cluster or host.
    let mut pools: Vec<(String, Option<String>, &ObjectUpdate)> = Vec::new();
    for cluster in objects.iter().filter(|object| object.obj.kind().ends_with("ComputeResource")) {
        let Some(root) = cluster.moref("resourcePool") else { continue };
        for pool in objects
            .iter()
            .filter(|object| object.obj.kind() == "ResourcePool" && paths.is_under(&object.obj, &root))
        {
            let path = format!("{}/{}", escape(&cluster.name()), paths.path(&pool.obj, &cluster.obj));
            pools.push((path, (pool.obj == root).then(|| cluster.name()), pool));
        }
    }
    let fits = |path: &str, cluster: &Option<String>, pool: &ObjectUpdate| match wanted {
        None => cluster.is_some(),
        Some(wanted) => {
            cluster.as_deref() == Some(wanted)
                || (cluster.is_none() && pool.name() == wanted)
                || path == normal(wanted)
        }
    };
    let found: Vec<_> = pools.iter().filter(|(path, cluster, pool)| fits(path, cluster, pool)).collect();
    let names = |pools: &[&(String, Option<String>, &ObjectUpdate)]| {
        list(&pools.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>())
    };
    match (found.as_slice(), wanted) {
        ([(.., pool)], _) => Ok(pool.obj.clone()),
        ([], None) => Err(Error::new(
            Kind::Config,
            format!(
                "the account sees no resource pool in datacenter {datacenter}: it has no cluster or host, or the account lacks rights on them"
            ),
        )),
        ([], Some(wanted)) => Err(Error::new(
            Kind::Config,
            format!(
                "there is no resource pool {wanted} in datacenter {datacenter}, only {}",
                names(&pools.iter().collect::<Vec<_>>())
            ),
        )),
        (some, None) => Err(Error::new(
            Kind::Ambiguous,
            format!(
                "datacenter {datacenter} has {} clusters or hosts ({}): set the resource pool to use",
                some.len(),
                names(some)
            ),
        )),
        (some, Some(wanted)) => Err(Error::new(
            Kind::Ambiguous,
            format!(
                "{wanted} fits {} resource pools ({}): set the resource pool to one of these paths",
                some.len(),
                names(some)
            ),
        )),
    }
}

async fn find_root(
    session: &Session,
    vm_folder: &MoRef,
    name: &str,
    datacenter: &str,
) -> Result<MoRef, Error> {
    let spec = filter(
        vec![properties("Folder", &["name"])],
        vec![object(vm_folder.to_vim(), true, vec![traverse("children", "Folder", "childEntity", &[])])],
    );
    let objects = session.retrieve(&spec).await?;
    if let Some(folder) = objects.iter().find(|object| object.name() == name && object.obj != *vm_folder) {
        return Ok(folder.obj.clone());
    }
    match create_folder(session, vm_folder, name).await {
        Ok(folder) => {
            tracing::info!(name, %folder, "made the root folder");
            Ok(folder)
        }
        // Somebody was quicker, or the folder is hidden from this account.
        Err(error) if error.kind() == Kind::DuplicateName => match error.object() {
            Some(folder) if folder.kind() == "Folder" => Ok(folder.clone()),
            _ => Err(error.explained(format!(
                "something that is not a folder is called {name} in {datacenter}/vm: rename it, a folder of that name is needed"
            ))),
        },
        Err(error) if error.kind() == Kind::Forbidden => Err(error.explained(format!(
            "the folder {datacenter}/vm/{name} does not exist and the account may not make it: have a vCenter administrator make it and grant the account rights on it, or grant Folder.Create on {datacenter}/vm"
        ))),
        Err(error) => Err(error),
    }
}

pub(super) async fn create_folder(session: &Session, parent: &MoRef, name: &str) -> Result<MoRef, Error> {
    let name = &*to_send(name);
    let create = |client| async move { mo::Folder::new(client, parent.value()).create_folder(name).await };
    session.call(None, create).await.map(|folder| MoRef::from(&folder))
}

/// For how long one scan answers for names that were not asked for before.
const SCAN_LIFE: Duration = Duration::from_secs(10);
/// How long a name is taken to mean the same template: one may be renamed and another take its name.
const NAME_LIFE: Duration = Duration::from_mins(5);

/// VMs to clone from, by name. One scan of the datacenter answers for every name asked for at
/// about the same time; what was found stays found until told otherwise.
#[derive(Debug, Default)]
pub(super) struct Templates(tokio::sync::Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    found: HashMap<String, (MoRef, Instant)>,
    scan: Option<Scan>,
}

#[derive(Debug)]
struct Scan {
    taken: Instant,
    /// Paths below the VM folder, and references, by name.
    by_name: HashMap<String, Vec<(String, MoRef)>>,
}

impl Templates {
    pub(super) async fn find(&self, session: &Session, site: &Site, name: &str) -> Result<MoRef, Error> {
        // Held while scanning: whoever comes meanwhile waits for that scan.
        let mut known = self.0.lock().await;
        if let Some((moref, since)) = known.found.get(name)
            && since.elapsed() < NAME_LIFE
        {
            return Ok(moref.clone());
        }
        let scan = match known.scan.take().filter(|scan| scan.taken.elapsed() < SCAN_LIFE) {
            Some(scan) => scan,
            None => Scan::take(session, site).await?,
        };
        let found = scan.find(site, name).map_err(Error::of_template);
        known.scan = Some(scan);
        let moref = found?;
        known.found.insert(name.to_owned(), (moref.clone(), Instant::now()));
        Ok(moref)
    }

    pub(super) async fn forget(&self, name: &str) {
        let mut known = self.0.lock().await;
        known.found.remove(name);
        known.scan = None;
    }

    /// Frees a scan that is too old to answer.
    pub(super) fn purge(&self) {
        if let Ok(mut known) = self.0.try_lock() {
            known.scan.take_if(|scan| scan.taken.elapsed() >= SCAN_LIFE);
        }
    }

    pub(super) async fn clear(&self) {
        *self.0.lock().await = Known::default();
    }
}

impl Scan {
    async fn take(session: &Session, site: &Site) -> Result<Self, Error> {
        let spec = filter(
            vec![
                properties("VirtualMachine", &["name", "parent"]),
                properties("Folder", &["name", "parent"]),
            ],
            vec![object(
                site.vm_folder.to_vim(),
                true,
                vec![traverse("folders", "Folder", "childEntity", &["folders"])],
            )],
        );
        let objects = session.retrieve(&spec).await?;
        let paths = Paths::of(&objects);
        let mut by_name: HashMap<String, Vec<(String, MoRef)>> = HashMap::new();
        for vm in objects.iter().filter(|object| object.obj.kind() == "VirtualMachine") {
            // What this client made, in folders below the root folder, is not what it makes more from. Templates in
            // the root folder itself are somebody's who put them there for it.
            let folder = paths.parent(&vm.obj);
            if folder == Some(&site.root) || !paths.is_under(&vm.obj, &site.root) {
                by_name
                    .entry(vm.name())
                    .or_default()
                    .push((paths.path(&vm.obj, &site.vm_folder), vm.obj.clone()));
            }
        }
        Ok(Self { taken: Instant::now(), by_name })
    }

    fn find(&self, site: &Site, name: &str) -> Result<MoRef, Error> {
        let place = format!("datacenter {}", site.datacenter);
        if let Some(found) = self.by_name.get(name) {
            return match found.as_slice() {
                [(_, moref)] => Ok(moref.clone()),
                _ => Err(Error::new(
                    Kind::Ambiguous,
                    format!(
                        "{} VMs are called {name} in {place} ({}): write the path of the one meant",
                        found.len(),
                        list(&found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>())
                    ),
                )),
            };
        }
        if name.contains('/') {
            let path = normal(name);
            let path = path.strip_prefix(&format!("{}/vm/", site.datacenter)).unwrap_or(&path);
            if let Some((_, moref)) = self.by_name.values().flatten().find(|(other, _)| other == path) {
                return Ok(moref.clone());
            }
        }
        Err(Error::new(Kind::NotFound, format!("there is no template or VM {name} in {place}")))
    }
}

/// Shared by every call that needs to know where to work.
pub(super) type SiteRef = Arc<Site>;

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            datacenter: "DC0".into(),
            vm_folder: MoRef::new("Folder", "vm"),
            root: MoRef::new("Folder", "root"),
            pool: MoRef::new("ResourcePool", "pool"),
        }
    }

    #[test]
    fn templates_by_name_or_path() {
        let vm = |id: &str| MoRef::new("VirtualMachine", id);
        let by_name = [
            ("a", vec![("a", vm("1"))]),
            ("b", vec![("x/b", vm("2")), ("y/b", vm("3"))]),
            ("c/d", vec![("x/c%2fd", vm("4"))]),
        ];
        let by_name = by_name
            .into_iter()
            .map(|(name, found)| {
                (name.to_owned(), found.into_iter().map(|(path, vm)| (path.to_owned(), vm)).collect())
            })
            .collect();
        let scan = Scan { taken: Instant::now(), by_name };
        for (name, id) in [
            ("a", "1"),
            ("x/b", "2"),
            ("/DC0/vm/y/b", "3"),
            ("DC0/vm/a", "1"),
            ("c/d", "4"),
            ("x/c%2fd", "4"),
        ] {
            assert_eq!(scan.find(&site(), name).unwrap(), vm(id), "{name}");
        }
        let error = scan.find(&site(), "b").unwrap_err();
        assert_eq!(error.kind(), Kind::Ambiguous);
        assert!(error.to_string().contains("x/b, y/b"), "{error}");
        assert_eq!(scan.find(&site(), "z").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn lists_are_short() {
        assert_eq!(list(&["b", "a"]), "a, b");
        assert_eq!(list(&["1", "2", "3", "4", "5", "6", "7"]), "1, 2, 3, 4, 5 and 2 more");
    }
}
