//! The files of a Pod's volumes, and how a kubelet lays them out: each file is a link into a directory `..data`, which is itself a
//! link, so that all files of a volume change in one step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::environment::{Trouble, field};
use super::sources::{Objects, Reference};

/// The mode of a file, unless the volume says another one.
const MODE: i32 = 0o644;
/// The link to the files of now.
const DATA: &str = "..data";

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    content: Vec<u8>,
    mode: u32,
}

/// The files of a volume, by path in it.
pub(super) type Files = BTreeMap<String, File>;

/// What the files are made of.
pub(super) struct Known<'a> {
    pub(super) pod: &'a Pod,
    pub(super) objects: &'a Objects,
    /// By audience.
    pub(super) tokens: &'a BTreeMap<String, String>,
}

/// Returns the files of a volume; `None` for a directory that the containers write to.
pub(super) fn files(volume: &Volume, known: &Known<'_>) -> Result<Option<Files>, Trouble> {
    if let Some(map) = &volume.config_map {
        let optional = map.optional == Some(true);
        return known
            .pick(&Reference::config_map(&map.name), map.items.as_deref(), optional, map.default_mode)
            .map(Some);
    }
    if let Some(secret) = &volume.secret {
        let optional = secret.optional == Some(true);
        let reference = Reference::secret(secret.secret_name.as_deref().unwrap_or_default());
        return known.pick(&reference, secret.items.as_deref(), optional, secret.default_mode).map(Some);
    }
    if let Some(projected) = &volume.projected {
        return known.project(projected).map(Some);
    }
    if let Some(downward) = &volume.downward_api {
        return known
            .downward(downward.items.as_deref().unwrap_or_default(), downward.default_mode)
            .map(Some);
    }
    if volume.empty_dir.is_some() || volume.host_path.is_some() {
        return Ok(None);
    }
    Err(format!("the kind of the volume {} is not known", volume.name))
}

impl Known<'_> {
    /// Returns the data of an object, or what `items` picks of it.
    fn pick(
        &self,
        reference: &Reference,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: Option<i32>,
    ) -> Result<Files, Trouble> {
        let Some(data) = self.objects.get(reference).and_then(Option::as_ref) else {
            return if optional { Ok(Files::new()) } else { Err(format!("{reference} not found")) };
        };
        let Some(items) = items else {
            return Ok(data
                .iter()
                .map(|(key, value)| (key.clone(), file(value.clone(), mode, None)))
                .collect());
        };
        let mut files = Files::new();
        for item in items {
            match data.get(&item.key) {
                Some(value) => {
                    files.insert(item.path.clone(), file(value.clone(), mode, item.mode));
                }
                None if optional => {}
                None => return Err(format!("{reference} has no key {}", item.key)),
            }
        }
        Ok(files)
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], mode: Option<i32>) -> Result<Files, Trouble> {
        let one = |item: &DownwardAPIVolumeFile| {
            let path =
                item.field_ref.as_ref().ok_or_else(|| format!("the source of {} is not known", item.path))?;
            let content = field(self.pod, &path.field_path)?.into_bytes();
            Ok((item.path.clone(), file(content, mode, item.mode)))
        };
        items.iter().map(one).collect()
    }

    fn project(&self, volume: &ProjectedVolumeSource) -> Result<Files, Trouble> {
        let mut files = Files::new();
        for source in volume.sources.iter().flatten() {
            files.extend(self.source(source, volume.default_mode)?);
        }
        Ok(files)
    }

    fn source(&self, source: &VolumeProjection, mode: Option<i32>) -> Result<Files, Trouble> {
        if let Some(token) = &source.service_account_token {
            let audience = token.audience.clone().unwrap_or_default();
            let text = self.tokens.get(&audience).ok_or_else(|| format!("no token for {audience:?} yet"))?;
            return Ok([(token.path.clone(), file(text.clone().into_bytes(), mode, None))].into());
        }
        if let Some(map) = &source.config_map {
            let optional = map.optional == Some(true);
            return self.pick(&Reference::config_map(&map.name), map.items.as_deref(), optional, mode);
        }
        if let Some(secret) = &source.secret {
            let optional = secret.optional == Some(true);
            return self.pick(&Reference::secret(&secret.name), secret.items.as_deref(), optional, mode);
        }
        match &source.downward_api {
            Some(downward) => self.downward(downward.items.as_deref().unwrap_or_default(), mode),
            None => Err("a source of a projected volume is not known".to_owned()),
        }
    }
}

fn file(content: Vec<u8>, default: Option<i32>, own: Option<i32>) -> File {
    let mode = own.or(default).unwrap_or(MODE);
    File { content, mode: u32::try_from(mode).unwrap_or_default() }
}

/// Lays the files out in a directory, which exists, in place of those of before. A path of a file stays valid throughout.
pub(super) fn lay_out(directory: &Path, files: &Files) -> Result<()> {
    let lay_out = || -> Result<()> {
        let before = fs::read_link(directory.join(DATA)).ok();
        // As a kubelet names them; the programs look only at the link.
        let fresh = tempfile::Builder::new().prefix("..").rand_bytes(12).tempdir_in(directory)?;
        fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o755))?;
        for (path, file) in files {
            write(fresh.path(), path, file)?;
        }
        let fresh = fresh.keep();
        let scratch = directory.join("..data_tmp");
        symlink(fresh.file_name().context("a directory has a name")?, &scratch)?;
        fs::rename(&scratch, directory.join(DATA))?;
        link(directory, files)?;
        if let Some(before) = before {
            fs::remove_dir_all(directory.join(before))?;
        }
        Ok(())
    };
    lay_out().with_context(|| format!("cannot write the volume {}", directory.display()))
}

fn write(directory: &Path, path: &str, file: &File) -> Result<()> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("{path} is not a path in a volume");
    }
    let target = directory.join(relative);
    fs::create_dir_all(target.parent().context("a file has a directory")?)?;
    fs::write(&target, &file.content)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    Ok(())
}

/// Links the first part of each path into `..data`, and removes the links of files that are gone.
fn link(directory: &Path, files: &Files) -> Result<()> {
    let tops = files.keys().filter_map(|path| path.split('/').next());
    for top in tops {
        if fs::symlink_metadata(directory.join(top)).is_err() {
            symlink(Path::new(DATA).join(top), directory.join(top))?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !files.keys().any(|path| path.split('/').next() == Some(&name)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(source: &Value) -> Volume {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        serde_json::from_value(volume).unwrap()
    }

    /// Path, content and mode of a file.
    type Shown = (String, String, u32);

    fn read(source: &Value) -> Result<Option<Vec<Shown>>, Trouble> {
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}})).unwrap();
        let data = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
        };
        let objects = [
            (Reference::config_map("m"), data(&[("a", "1"), ("b", "2")])),
            (Reference::secret("s"), data(&[("password", "p")])),
            (Reference::secret("gone"), None),
        ]
        .into();
        let tokens = [(String::new(), "token".to_owned())].into();
        let files = files(&volume(source), &Known { pod: &pod, objects: &objects, tokens: &tokens })?;
        let shown =
            |(path, file): (String, File)| (path, String::from_utf8(file.content).unwrap(), file.mode);
        Ok(files.map(|files| files.into_iter().map(shown).collect()))
    }

    fn of(path: &str, content: &str, mode: u32) -> Shown {
        (path.to_owned(), content.to_owned(), mode)
    }

    #[test]
    fn volumes_have_the_files_of_their_sources() {
        assert_eq!(
            read(&json!({"configMap": {"name": "m"}})).unwrap().unwrap(),
            [of("a", "1", 0o644), of("b", "2", 0o644)]
        );
        let items = json!({"secret": {"secretName": "s", "defaultMode": 0o400,
            "items": [{"key": "password", "path": "deep/word"}]}});
        assert_eq!(read(&items).unwrap().unwrap(), [of("deep/word", "p", 0o400)]);
        let access = json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}});
        assert_eq!(
            read(&access).unwrap().unwrap(),
            [of("ca.crt", "1", 0o644), of("namespace", "n", 0o644), of("token", "token", 0o644)]
        );
        assert_eq!(read(&json!({"emptyDir": {}})).unwrap(), None);
        assert_eq!(read(&json!({"hostPath": {"path": "/dev"}})).unwrap(), None);
        assert_eq!(
            read(&json!({"secret": {"secretName": "gone", "optional": true}})).unwrap(),
            Some(Vec::new())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = |source: Value| read(&source).unwrap_err();
        assert_eq!(refusal(json!({"secret": {"secretName": "gone"}})), r#"secret "gone" not found"#);
        assert_eq!(refusal(json!({"configMap": {"name": "x"}})), r#"configmap "x" not found"#);
        let key = json!({"configMap": {"name": "m", "items": [{"key": "c", "path": "c"}]}});
        assert_eq!(refusal(key), r#"configmap "m" has no key c"#);
        assert_eq!(
            refusal(json!({"nfs": {"server": "s", "path": "/"}})),
            "the kind of the volume v is not known"
        );
    }

    #[test]
    fn all_files_of_a_volume_change_in_one_step() {
        let volume = tempfile::tempdir().unwrap();
        let at = |path: &str| volume.path().join(path);
        let text = |path: &str| fs::read_to_string(at(path)).unwrap();
        let files = |pairs: &[(&str, &str)]| -> Files {
            let one = |(path, text): &(&str, &str)| {
                ((*path).to_owned(), file(text.as_bytes().to_vec(), None, None))
            };
            pairs.iter().map(one).collect()
        };
        lay_out(volume.path(), &files(&[("a", "1"), ("deep/b", "2")])).unwrap();
        assert_eq!((text("a"), text("deep/b")), ("1".to_owned(), "2".to_owned()));
        assert_eq!(fs::read_link(at("a")).unwrap(), Path::new("..data/a"));
        let first = fs::read_link(at(DATA)).unwrap();

        lay_out(volume.path(), &files(&[("a", "3"), ("c", "4")])).unwrap();
        assert_eq!((text("a"), text("c")), ("3".to_owned(), "4".to_owned()));
        assert_ne!(fs::read_link(at(DATA)).unwrap(), first);
        assert!(!at("deep").exists() && !volume.path().join(first).exists());
        // The link, the files' directory, and two links.
        assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 4);
        lay_out(volume.path(), &files(&[("../out", "")])).unwrap_err();
    }
}
