//! The form of a file in the cache: a ConfigMap whose name is its checksum. Pure.

use std::collections::BTreeMap;
use std::io::Write;

use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use infra_clients::download::gunzip;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};

use super::Source;

const CACHE: &str = "vdo.vmware.com/cache";
const FILE: &str = "file";
const ZIPPED: &str = "file.gz";
/// Largest text that is kept as it is.
const READABLE: usize = 64 << 10;
/// Larger than any file in the cache.
const LARGEST: usize = 64 << 20;

/// Returns the name of the ConfigMap of a file.
pub(super) fn name(sha256: &str) -> String {
    format!("vdo-file-{sha256}")
}

/// Returns what selects the whole cache.
pub(super) fn selector() -> String {
    format!("{CACHE}={FILE}")
}

/// Returns the label of the file that a source without a checksum stands for.
pub(super) fn label(source: &Source) -> String {
    let hash = HEXLOWER.encode(&Sha256::digest(source.identity()));
    format!("source.vdo.vmware.com/{}", &hash[..32])
}

/// Returns the ConfigMap of a file.
pub(super) fn object(source: &Source, sha256: &str, raw: &[u8]) -> ConfigMap {
    let mut labels = BTreeMap::from([(CACHE.to_owned(), FILE.to_owned())]);
    if source.sha256().is_none() {
        labels.insert(label(source), String::new());
    }
    let metadata = ObjectMeta { name: Some(name(sha256)), labels: Some(labels), ..ObjectMeta::default() };
    let mut object = ConfigMap { metadata, immutable: Some(true), ..ConfigMap::default() };
    let zipped = zip(raw).filter(|zipped| zipped.len() < raw.len());
    let binary =
        |key: &str, bytes: &[u8]| Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.to_vec()))]));
    match (std::str::from_utf8(raw), zipped) {
        (Ok(text), _) if text.len() <= READABLE => {
            object.data = Some(BTreeMap::from([(FILE.to_owned(), text.to_owned())]));
        }
        (_, Some(zipped)) => object.binary_data = binary(ZIPPED, &zipped),
        (_, None) => object.binary_data = binary(FILE, raw),
    }
    object
}

fn zip(raw: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(raw).ok()?;
    encoder.finish().ok()
}

/// Returns the file of a ConfigMap; `None` if it is not the one that its name says.
pub(super) fn content(object: &ConfigMap) -> Option<Vec<u8>> {
    let (data, binary) = (object.data.as_ref(), object.binary_data.as_ref());
    let text = data.and_then(|data| data.get(FILE)).map(|text| text.clone().into_bytes());
    let bytes = || binary?.get(FILE).map(|bytes| bytes.0.clone());
    let zipped = || gunzip(&binary?.get(ZIPPED)?.0, LARGEST).ok();
    let raw = text.or_else(bytes).or_else(zipped)?;
    (name(&HEXLOWER.encode(&Sha256::digest(&raw))) == object.name_any()).then_some(raw)
}

/// Returns the labels of `wanted` that an object lacks.
pub(super) fn missing_labels(object: &ConfigMap, wanted: &ConfigMap) -> Option<BTreeMap<String, String>> {
    let mut missing = wanted.labels().clone();
    missing.retain(|key, value| object.labels().get(key) != Some(value));
    (!missing.is_empty()).then_some(missing)
}

/// Returns whether one of the sources refers to a file.
pub(super) fn is_used(object: &ConfigMap, used: &[Source]) -> bool {
    used.iter().filter(|source| source.is_remote()).any(|source| match source.sha256() {
        Some(sha256) => name(sha256) == object.name_any(),
        None => object.labels().contains_key(&label(source)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://host/a.yaml?x=1";

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    fn sha256(raw: &[u8]) -> String {
        HEXLOWER.encode(&Sha256::digest(raw))
    }

    fn noise(size: usize) -> Vec<u8> {
        let hashes = (0..=size / 32).flat_map(|at| Sha256::digest(at.to_string()).to_vec());
        hashes.take(size).collect()
    }

    #[test]
    fn every_file_comes_back_as_it_was() {
        for (raw, is_text, key) in [
            (b"".to_vec(), true, FILE),
            (b"a: 1\n".to_vec(), true, FILE),
            (vec![b'a'; READABLE], true, FILE),
            (vec![b'a'; READABLE + 1], false, ZIPPED),
            (zip(b"a: 1\n").unwrap(), false, FILE),
            (noise(1 << 20), false, FILE),
        ] {
            let object = object(&source(URL), &sha256(&raw), &raw);
            assert_eq!(content(&object), Some(raw.clone()));
            assert_eq!(object.immutable, Some(true));
            assert_eq!(object.data.is_some(), is_text);
            let keys = object.data.map(|data| data.into_keys().collect::<Vec<_>>());
            let keys = keys.or_else(|| object.binary_data.map(|data| data.into_keys().collect()));
            assert_eq!(keys.unwrap(), [key]);
        }
    }

    #[test]
    fn a_file_that_was_changed_is_none() {
        let mut other = object(&source(URL), &sha256(b"a"), b"a");
        other.data = Some(BTreeMap::from([(FILE.to_owned(), "b".to_owned())]));
        assert_eq!(content(&other), None);
        other.data = None;
        assert_eq!(content(&other), None);
        other.binary_data = Some(BTreeMap::from([(ZIPPED.to_owned(), ByteString(b"a".to_vec()))]));
        assert_eq!(content(&other), None);
    }

    #[test]
    fn a_file_is_used_by_its_checksum_or_by_its_source() {
        let digest = sha256(b"a");
        let pinned = source(&format!("https://other/b.yaml#sha256={digest}"));
        let by_source = object(&source(URL), &digest, b"a");
        let by_checksum = object(&pinned, &digest, b"a");
        assert_eq!(by_checksum.labels().len(), 1);
        let other = source(&format!("{URL}#sha256={}", sha256(b"b")));
        for (object, used, wanted) in [
            (&by_source, source(URL), true),
            (&by_source, pinned.clone(), true),
            (&by_source, other.clone(), false),
            (&by_source, source("https://host/a.yaml?x=2"), false),
            (&by_checksum, pinned, true),
            (&by_checksum, source(URL), false),
            (&by_source, source("configmap:a/b"), false),
        ] {
            assert_eq!(is_used(object, std::slice::from_ref(&used)), wanted, "{used}");
        }
        assert!(!is_used(&by_source, &[]));
        assert_eq!(missing_labels(&by_checksum, &by_source).unwrap().len(), 1);
        assert_eq!(missing_labels(&by_source, &by_checksum), None);
    }
}
