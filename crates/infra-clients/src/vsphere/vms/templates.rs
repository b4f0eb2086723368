//! Templates by name. Owns the scan of the datacenter that answers for all names asked for at about the same time, and
//! how long an answer is good for; never chooses between two.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use vim_rs::types::structs::PropertyFilterSpec;

use super::inventory::Change;
use super::site::Site;
use super::{Link, Shared};
use crate::vsphere::paths::{Paths, list, normal};
use crate::vsphere::properties::{ObjectUpdate, filter, object, properties, traverse};
use crate::vsphere::{Error, Kind, MoRef};

/// For how long a scan answers for names that were not asked for before it, and a failure is an answer.
const SCAN_LIFE: Duration = Duration::from_secs(10);
/// For how long a name means the same template: one may be renamed and another take its name.
const NAME_LIFE: Duration = Duration::from_mins(5);

/// What is known of a template.
#[derive(Debug, Clone, Default)]
pub enum Template {
    /// It is this VM.
    Known(MoRef),
    /// Nothing is known, or not for long enough any more: [`Vms::request_template`](super::Vms::request_template).
    #[default]
    Unknown,
    /// Requested; [`Change::Templates`] is sent when the answer is there.
    LookingUp,
    /// There is no such template, or more than one, or the scan failed. Asking again after 10 seconds scans again.
    Failed(Error),
}

/// The answers so far, and the names that wait for one.
#[derive(Debug, Default)]
pub(super) struct Templates {
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, (Result<MoRef, Error>, Instant)>,
    wanted: HashSet<String>,
    scan: Option<(Scan, Instant)>,
}

/// Returns whether an answer, or a scan, is still good.
fn is_good(answer: Result<&MoRef, &Error>, since: Instant, now: Instant) -> bool {
    let life = if answer.is_ok() { NAME_LIFE } else { SCAN_LIFE };
    now.saturating_duration_since(since) < life
}

impl State {
    /// Drops what is too old.
    fn purge(&mut self, now: Instant) {
        self.answers.retain(|_, (answer, since)| is_good(answer.as_ref(), *since, now));
        self.scan.take_if(|(_, since)| now.saturating_duration_since(*since) >= SCAN_LIFE);
    }

    fn get(&mut self, name: &str, now: Instant) -> Template {
        let answer = self.answers.get(name).filter(|(answer, since)| is_good(answer.as_ref(), *since, now));
        let answer = match answer {
            Some((answer, _)) => answer.clone(),
            None => match &self.scan {
                Some((scan, since)) if now.saturating_duration_since(*since) < SCAN_LIFE => {
                    let answer = scan.find(name);
                    self.answers.insert(name.to_owned(), (answer.clone(), *since));
                    answer
                }
                _ if self.wanted.contains(name) => return Template::LookingUp,
                _ => return Template::Unknown,
            },
        };
        answer.map_or_else(Template::Failed, Template::Known)
    }

    fn answer(&mut self, scan: Result<Scan, Error>, now: Instant) {
        let wanted = std::mem::take(&mut self.wanted);
        self.purge(now);
        match scan {
            Ok(scan) => {
                let answers = wanted.into_iter().map(|name| (scan.find(&name), name));
                self.answers.extend(answers.map(|(answer, name)| (name, (answer, now))));
                self.scan = Some((scan, now));
            }
            Err(error) => {
                self.answers.extend(wanted.into_iter().map(|name| (name, (Err(error.clone()), now))));
            }
        }
    }
}

impl Templates {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known of a template.
    pub(super) fn get(&self, name: &str) -> Template {
        self.state().get(name, Instant::now())
    }

    /// Requests a scan.
    pub(super) fn request(&self, name: &str) {
        self.state().wanted.insert(name.to_owned());
        self.asked.notify_one();
    }

    /// Has the template looked for again when it is next asked for.
    pub(super) fn forget(&self, name: &str) {
        let mut state = self.state();
        state.answers.remove(name);
        state.scan = None;
    }

    /// Has a template looked for again that does not exist any more.
    pub(super) fn forget_moref(&self, moref: &MoRef) {
        let mut state = self.state();
        let count = state.answers.len();
        state.answers.retain(|_, (answer, _)| answer.as_ref().ok() != Some(moref));
        if state.answers.len() != count {
            state.scan = None;
        }
    }

    /// Drops every answer.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.answers.clear();
        state.scan = None;
    }

    /// Drops failures, which may have been those of a link that is up again.
    pub(super) fn forget_failures(&self) {
        self.state().answers.retain(|_, (answer, _)| answer.is_ok());
    }

    /// Scans whenever a name is asked for that has no answer. Never returns.
    pub(super) async fn run(&self, shared: &Shared) {
        loop {
            let holds_scan = self.state().scan.is_some();
            if holds_scan {
                // Frees the memory of a scan that is not used.
                if tokio::time::timeout(SCAN_LIFE, self.asked.notified()).await.is_err() {
                    self.state().purge(Instant::now());
                    continue;
                }
            } else {
                self.asked.notified().await;
            }
            if self.state().wanted.is_empty() {
                continue;
            }
            let scan = match site(shared).await {
                Ok(site) => Scan::take(shared, &site).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &scan {
                tracing::debug!(%error, "cannot look for templates");
            }
            self.state().answer(scan, Instant::now());
            shared.update(|inventory| inventory.send(&Change::Templates));
        }
    }
}

/// Waits until it is known where to look, or why that cannot be known.
async fn site(shared: &Shared) -> Result<std::sync::Arc<Site>, Error> {
    let (mut sites, mut link) = (shared.sites.subscribe(), shared.link.subscribe());
    tokio::select! {
        biased;
        site = sites.wait_for(Option::is_some) => {
            site.ok().and_then(|site| site.clone()).ok_or_else(crate::vsphere::session::closed)
        }
        down = link.wait_for(|link| matches!(link, Link::Down(_))) => match down.as_deref() {
            Ok(Link::Down(error)) => Err(Error::clone(error)),
            _ => Err(crate::vsphere::session::closed()),
        },
    }
}

/// The VMs of a datacenter at one time.
#[derive(Debug)]
struct Scan {
    datacenter: String,
    vms: Vec<Scanned>,
}

#[derive(Debug)]
struct Scanned {
    name: String,
    /// Below the VM folder, escaped.
    path: String,
    template: bool,
    /// It is in a folder below the root folder: what this client created is not what it clones. Templates in the root folder
    /// itself were put there for it.
    created: bool,
    moref: MoRef,
}

fn scan_filter(vm_folder: &MoRef) -> PropertyFilterSpec {
    filter(
        vec![
            properties("VirtualMachine", &["name", "parent", "summary.config.template"]),
            properties("Folder", &["name", "parent"]),
        ],
        vec![object(
            vm_folder.to_vim(),
            true,
            vec![traverse("folders", "Folder", "childEntity", &["folders"])],
        )],
    )
}

impl Scan {
    async fn take(shared: &Shared, site: &Site) -> Result<Self, Error> {
        let objects = shared.core.retrieve(&scan_filter(&site.vm_folder)).await?;
        let paths = Paths::of(&objects);
        let is_template = |vm: &ObjectUpdate| {
            vm.get("summary.config.template").is_some_and(|value| matches!(value.text.as_str(), "true" | "1"))
        };
        let is_created = |vm: &ObjectUpdate| {
            paths.parent(&vm.obj) != Some(&site.root) && paths.is_under(&vm.obj, &site.root)
        };
        let vms = objects
            .iter()
            .filter(|object| object.obj.kind() == "VirtualMachine")
            .map(|vm| Scanned {
                name: vm.name(),
                path: paths.path(&vm.obj, &site.vm_folder),
                template: is_template(vm),
                created: is_created(vm),
                moref: vm.obj.clone(),
            })
            .collect();
        Ok(Self { datacenter: site.datacenter.clone(), vms })
    }

    fn find(&self, name: &str) -> Result<MoRef, Error> {
        self.look(name).map_err(Error::of_template)
    }

    /// Finds a template by its name, or any VM by its path.
    fn look(&self, name: &str) -> Result<MoRef, Error> {
        let place = format!("datacenter {:?}", self.datacenter);
        let (templates, others): (Vec<_>, Vec<_>) =
            self.eligible().filter(|vm| vm.name == name).partition(|vm| vm.template);
        let full = |vms: &[&Scanned]| {
            list(&vms.iter().map(|vm| format!("/{}/vm/{}", self.datacenter, vm.path)).collect::<Vec<_>>())
        };
        match templates.as_slice() {
            [template] => return Ok(template.moref.clone()),
            [] => {}
            several => {
                let message = format!(
                    "{} templates have the name {name:?} in {place} ({}): write the path of the one to clone",
                    several.len(),
                    full(several)
                );
                return Err(Error::new(Kind::Ambiguous, message));
            }
        }
        if name.contains('/') {
            let path = normal(name);
            let path = path.strip_prefix(&format!("{}/vm/", self.datacenter)).unwrap_or(&path);
            match self.vms.iter().find(|vm| vm.path == path) {
                Some(vm) if vm.created => {
                    let message = format!(
                        "{name:?} is a virtual machine in a folder below the root folder for new machines, which is not cloned: write \
                         the name of a template, or move it to another folder"
                    );
                    return Err(Error::new(Kind::NotFound, message));
                }
                Some(vm) => return Ok(vm.moref.clone()),
                None => {}
            }
        }
        let message = if others.is_empty() {
            let meant = self.similar(name).map(|meant| format!("; did you mean {meant:?}?"));
            format!("there is no template {name:?} in {place}{}", meant.unwrap_or_default())
        } else {
            format!(
                "there is no template {name:?} in {place}; to clone the virtual machine of that name, write its path: {}",
                full(&others)
            )
        };
        Err(Error::new(Kind::NotFound, message))
    }

    fn eligible(&self) -> impl Iterator<Item = &Scanned> {
        self.vms.iter().filter(|vm| !vm.created)
    }

    /// Returns the name or path that differs from `name` in case, or in blanks around it.
    fn similar(&self, name: &str) -> Option<&str> {
        let name = name.trim().to_lowercase();
        let path = normal(&name);
        let path = path.strip_prefix(&format!("{}/vm/", self.datacenter.to_lowercase())).unwrap_or(&path);
        let names = self.eligible().filter(|vm| vm.template).map(|vm| &*vm.name);
        let mut names = names.filter(|known| known.trim().to_lowercase() == name);
        let mut paths = self.eligible().map(|vm| &*vm.path);
        names.next().or_else(|| paths.find(|known| known.to_lowercase() == path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Class, Failure};

    fn vm(id: &str) -> MoRef {
        MoRef::new("VirtualMachine", id)
    }

    fn scan() -> Scan {
        let vms = [
            ("1", "a", "a", true),
            ("2", "b", "x/b", true),
            ("3", "b", "y/b", true),
            ("4", "c/d", "x/c%2fd", true),
            ("5", "e", "x/e", false),
            ("6", "a", "z/a", false),
            ("7", "web-0", "root/n.web/web-0", false),
        ];
        let vms = vms.map(|(id, name, path, template)| Scanned {
            name: name.to_owned(),
            path: path.to_owned(),
            template,
            created: path.starts_with("root/"),
            moref: vm(id),
        });
        Scan { datacenter: "DC0".to_owned(), vms: vms.into() }
    }

    #[test]
    fn templates_by_name_and_any_vm_by_path() {
        for (name, id) in [
            ("a", "1"),
            ("x/b", "2"),
            ("/DC0/vm/y/b", "3"),
            ("DC0/vm/a", "1"),
            ("c/d", "4"),
            ("x/c%2fd", "4"),
            ("x/e", "5"),
            ("/DC0/vm/z/a", "6"),
        ] {
            assert_eq!(scan().find(name).unwrap(), vm(id), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_cloned_is_explained() {
        let error = scan().find("b").unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Ambiguous, "TemplateAmbiguous"));
        assert!(error.to_string().contains("/DC0/vm/x/b, /DC0/vm/y/b"), "{error}");
        let error = scan().find("q").unwrap_err();
        assert_eq!((error.reason(), error.class()), ("TemplateNotFound", Class::NeedsHelp));
        assert!(error.to_string().ends_with(r#"no template "q" in datacenter "DC0""#), "{error}");
        for (name, meant) in
            [("A", "a"), (" a ", "a"), ("X/E", "x/e"), ("/dc0/vm/X/e", "x/e"), ("C/D", "c/d")]
        {
            let error = scan().find(name).unwrap_err();
            assert!(error.to_string().ends_with(&format!("did you mean {meant:?}?")), "{error}");
        }
        let error = scan().find("e").unwrap_err();
        assert_eq!(error.reason(), "TemplateNotFound");
        assert!(error.to_string().contains("write its path: /DC0/vm/x/e"), "{error}");
        for (name, text) in [
            ("web-0", r#"no template "web-0" in datacenter "DC0""#),
            ("/DC0/vm/root/n.web/web-0", "below the root folder for new machines"),
            ("/DC0/vm/root/n.web/WEB-0", "there is no template"),
        ] {
            let error = scan().find(name).unwrap_err();
            assert!(error.to_string().contains(text) && error.reason() == "TemplateNotFound", "{error}");
            assert!(!error.to_string().contains("did you mean"), "{error}");
        }
    }

    #[test]
    fn answers_have_an_age_limit() {
        let (start, mut state) = (Instant::now(), State::default());
        assert!(matches!(state.get("a", start), Template::Unknown));
        for name in ["a", "q"] {
            state.wanted.insert(name.to_owned());
            assert!(matches!(state.get(name, start), Template::LookingUp));
        }
        state.answer(Ok(scan()), start);
        assert!(matches!(state.get("a", start), Template::Known(moref) if moref == vm("1")));
        assert!(matches!(state.get("q", start), Template::Failed(_)));
        assert!(matches!(state.get("c/d", start), Template::Known(_)), "the scan answers for other names");

        let later = start + SCAN_LIFE;
        assert!(matches!(state.get("q", later), Template::Unknown));
        assert!(matches!(state.get("x/e", later), Template::Unknown));
        assert!(matches!(state.get("a", later), Template::Known(_)));
        assert!(matches!(state.get("a", start + NAME_LIFE), Template::Unknown));

        state.wanted.insert("q".to_owned());
        state.answer(Err(Error::new(Kind::Unreachable, "")), later);
        assert!(
            matches!(state.get("q", later), Template::Failed(error) if error.kind() == Kind::Unreachable)
        );
    }
}
