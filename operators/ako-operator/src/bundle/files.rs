//! The directory of the bundle: read when the operator starts, and when its files change.
//!
//! A mounted ConfigMap changes all at once: its files are links into a directory that the kubelet replaces.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, info};

use super::{Bundle, File};
use crate::api::reason;
use crate::problem::Problem;

/// The pause between two looks at the files. The kubelet takes about a minute to show a changed ConfigMap.
const PAUSE: Duration = Duration::from_secs(5);
/// As much as a ConfigMap can have. AKO's own files have 100 KiB together.
const MAX_BYTES: u64 = 1 << 20;

/// The bundle as the files have it now.
pub struct BundleFiles {
    directory: PathBuf,
    read: Mutex<Read>,
}

/// What was read.
struct Read {
    /// Of which files.
    mark: Mark,
    bundle: Result<Arc<Bundle>, Problem>,
}

/// What tells a changed directory, but for its path: name, inode, size and time of each file. `None`: it cannot be read.
type Mark = Option<Vec<(String, u64, u64, i64, i64)>>;

impl BundleFiles {
    /// Reads the files of a directory. What is wrong with them is logged, and said by [`current`](Self::current).
    #[must_use]
    pub fn read(directory: PathBuf) -> Self {
        let mark = mark(&directory);
        let bundle = parse(&directory);
        log(&directory, &bundle);
        Self { directory, read: Mutex::new(Read { mark, bundle }) }
    }

    /// Returns the bundle, or what is wrong with its files.
    ///
    /// # Errors
    /// Names the file, and says what to do.
    pub fn current(&self) -> Result<Arc<Bundle>, Problem> {
        self.lock().bundle.clone()
    }

    /// Looks at the files again and again; `changed` is called when they say something else.
    pub async fn watch(self: Arc<Self>, changed: impl Fn() + Send) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let files = Arc::clone(&self);
            // A volume may be slow.
            if tokio::task::spawn_blocking(move || files.refresh()).await.unwrap_or_default() {
                changed();
            }
        }
    }

    /// Reads the files if they have changed; returns whether they say something else.
    pub(crate) fn refresh(&self) -> bool {
        let now = mark(&self.directory);
        if self.lock().mark == now {
            return false;
        }
        let bundle = parse(&self.directory);
        if mark(&self.directory) != now {
            // They are being replaced: the next look has all of them.
            return false;
        }
        let before = std::mem::replace(&mut *self.lock(), Read { mark: now, bundle: bundle.clone() });
        let is_changed = before.bundle != bundle;
        if is_changed {
            log(&self.directory, &bundle);
        }
        is_changed
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(directory: &Path, bundle: &Result<Arc<Bundle>, Problem>) {
    let directory = directory.display();
    match bundle {
        Ok(bundle) => {
            info!(%directory, definitions = bundle.definitions.len(), "the definitions of AKO are read");
        }
        Err(problem) => error!(problem = problem.message, "no AKO is delivered or changed"),
    }
}

fn parse(directory: &Path) -> Result<Arc<Bundle>, Problem> {
    let bundle = read(directory).and_then(|files| Bundle::parse(&files));
    bundle.map(Arc::new).map_err(|message| {
        let directory = directory.display();
        let message = format!("the definitions of AKO in {directory} (--ako-crds) cannot be used: {message}");
        Problem { reason: reason::DEFINITIONS_INVALID, message }
    })
}

fn mark(directory: &Path) -> Mark {
    let of = |(name, about): (String, Metadata)| {
        (name, about.ino(), about.len(), about.mtime(), about.mtime_nsec())
    };
    Some(entries(directory).ok()?.into_iter().map(of).collect())
}

/// Returns all files, by name. Names with a dot in front are the kubelet's.
fn entries(directory: &Path) -> io::Result<Vec<(String, Metadata)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(about) if about.is_file() => entries.push((name, about)),
            Ok(_) => {}
            // A link of the kubelet's that it has not removed yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

fn read(directory: &Path) -> Result<Vec<File>, String> {
    let unread = |error: io::Error| format!("it cannot be read: {error}: mount the definitions of AKO there");
    let (mut total, mut files) = (0, Vec::new());
    for (name, about) in entries(directory).map_err(unread)? {
        total += about.len();
        if total > MAX_BYTES {
            return Err(format!(
                "{name}: with it, the files have {total} bytes, and {MAX_BYTES} is the most, as much as a ConfigMap can have: remove what \
                 is no CustomResourceDefinition of AKO"
            ));
        }
        let bytes = fs::read(directory.join(&name));
        let bytes = bytes.map_err(|error| format!("{name}: it cannot be read: {error}"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{name}: it is no text in UTF-8: remove it, or write YAML"))?;
        files.push(File { name, text });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use testbed::Workdir;

    use super::*;

    fn definition(name: &str, kind: &str, version: &str) -> String {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {name}.ako.vmware.com }}\n\
             spec: {{ group: ako.vmware.com, scope: Namespaced, names: {{ kind: {kind}, plural: {name} }},\n  versions: [{{ name: {version}, \
             served: true, storage: true }}] }}\n"
        )
    }

    /// Replaces the files as a kubelet does: in a directory beside, to which a link leads that is renamed.
    fn mount(volume: &Workdir, generation: &str, files: &[(&str, &str)]) {
        let (root, data) = (volume.path(), volume.path().join("..data"));
        fs::create_dir(root.join(generation)).unwrap();
        for (name, text) in files {
            fs::write(root.join(generation).join(name), text).unwrap();
            let _ = std::os::unix::fs::symlink(format!("..data/{name}"), root.join(name));
        }
        std::os::unix::fs::symlink(generation, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), data).unwrap();
        for entry in fs::read_dir(root).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with('.') && !files.iter().any(|(file, _)| *file == name) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn names(files: &BundleFiles) -> Vec<String> {
        let bundle = files.current().unwrap();
        bundle.definitions.iter().map(|definition| definition.name.clone()).collect()
    }

    #[test]
    fn files_are_read_again_when_a_volume_changes() {
        let volume = Workdir::new("bundle").unwrap();
        let files = BundleFiles::read(volume.path().to_owned());
        let empty = files.current().unwrap_err();
        assert_eq!(empty.reason, "AKOCRDsInvalid");
        assert!(empty.message.contains("no file in it has a definition"), "{empty}");

        let rules = definition("hostrules", "HostRule", "v1beta1");
        mount(&volume, "..1", &[("hostrules.yaml", &rules)]);
        assert!(files.refresh());
        assert_eq!(names(&files), ["hostrules.ako.vmware.com"]);
        assert!(!files.refresh(), "nothing has changed");

        mount(&volume, "..2", &[("hostrules.yaml", &rules)]);
        assert!(!files.refresh(), "other files that say the same");

        let both = format!("{rules}---\n{}", definition("l4rules", "L4Rule", "v1alpha2"));
        mount(&volume, "..3", &[("all.yaml", &both)]);
        assert!(files.refresh());
        assert_eq!(names(&files), ["hostrules.ako.vmware.com", "l4rules.ako.vmware.com"]);

        mount(&volume, "..4", &[("all.yaml", &both), ("README.md", "# CRDs")]);
        assert!(files.refresh());
        let wrong = files.current().unwrap_err();
        assert!(wrong.message.contains("README.md: "), "{wrong}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let volume = Workdir::new("bundle").unwrap();
        let gone = BundleFiles::read(volume.path().join("none"));
        let message = gone.current().unwrap_err().message;
        assert!(message.contains("none (--ako-crds)") && message.contains("it cannot be read"), "{message}");
        assert!(!gone.refresh());

        for (name, content, wanted) in [
            ("large.yaml", vec![b'#'; (1 << 20) + 1], "large.yaml: with it, the files have 1048577 bytes"),
            ("image.yaml", vec![0xff, 0xfe], "image.yaml: it is no text in UTF-8"),
        ] {
            let volume = Workdir::new("bundle").unwrap();
            fs::write(volume.path().join(name), content).unwrap();
            let message = BundleFiles::read(volume.path().to_owned()).current().unwrap_err().message;
            assert!(message.contains(wanted), "{message}");
        }
    }
}
