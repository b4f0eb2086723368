//! Which version of CSI knows which key. Source: `pkg/common/config/types.go` of vsphere-csi-driver at the tags.

use crate::version::Version;

/// The oldest version whose keys are known.
pub const OLDEST_CSI: Version = Version::new(2, 3, 0);

pub(super) const DATASTORE_URLS: &str = "targetvSANFileShareDatastoreURLs";
pub(super) const CLUSTERS: &str = "targetvSANFileShareClusters";

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Global,
    VirtualCenter,
    NetPermissions,
    Snapshot,
    Labels,
    TopologyCategory,
}

impl Section {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Global => "Global",
            Self::VirtualCenter => "VirtualCenter",
            Self::NetPermissions => "NetPermissions",
            Self::Snapshot => "Snapshot",
            Self::Labels => "Labels",
            Self::TopologyCategory => "TopologyCategory",
        }
    }
}

/// A key, and the versions that know it.
#[derive(Clone, Copy)]
struct Key {
    section: Section,
    name: &'static str,
    /// Whether users may write it: a number. Others are written from the fields of the kinds.
    is_setting: bool,
    from: Numbers,
    /// The first version that does not know it any more.
    until: Option<Numbers>,
}

type Numbers = (u64, u64, u64);

const fn key(section: Section, name: &'static str, from: Numbers) -> Key {
    Key { section, name, is_setting: false, from, until: None }
}

const fn setting(section: Section, name: &'static str, from: Numbers) -> Key {
    Key { section, name, is_setting: true, from, until: None }
}

const fn until(key: Key, version: Numbers) -> Key {
    Key { until: Some(version), ..key }
}

fn version_of((major, minor, patch): Numbers) -> Version {
    Version::new(major, minor, patch)
}

const OLDEST: Numbers = (2, 3, 0);
const V2_4: Numbers = (2, 4, 0);
const V2_6: Numbers = (2, 6, 0);

static KEYS: &[Key] = &[
    setting(Section::Global, "cnsregistervolumes-cleanup-intervalinmin", OLDEST),
    setting(Section::Global, "cnspvcprotection-cleanup-intervalinmin", (3, 7, 0)),
    setting(Section::Global, "volumemigration-cr-cleanup-intervalinmin", OLDEST),
    until(setting(Section::Global, "vc-client-timeout", OLDEST), (3, 3, 1)),
    setting(Section::Global, "csi-auth-check-intervalinmin", OLDEST),
    setting(Section::Global, "cnsvolumeoperationrequest-cleanup-intervalinmin", OLDEST),
    setting(Section::Global, "csi-fetch-preferred-datastores-intervalinmin", V2_6),
    setting(Section::Global, "query-limit", V2_6),
    setting(Section::Global, "list-volume-threshold", V2_6),
    key(Section::VirtualCenter, "thumbprint", (3, 3, 0)),
    until(key(Section::VirtualCenter, DATASTORE_URLS, OLDEST), (3, 2, 0)),
    key(Section::VirtualCenter, CLUSTERS, OLDEST),
    key(Section::Labels, "topology-categories", V2_4),
    key(Section::TopologyCategory, "label", (2, 5, 0)),
    setting(Section::Snapshot, "global-max-snapshots-per-block-volume", V2_4),
    setting(Section::Snapshot, "granular-max-snapshots-per-block-volume-vsan", V2_4),
    setting(Section::Snapshot, "granular-max-snapshots-per-block-volume-vvol", V2_4),
];

/// Returns whether the version knows the key.
pub(super) fn knows(version: &Version, section: Section, name: &str) -> bool {
    KEYS.iter().any(|key| key.section == section && key.name == name && key.is_known_to(version))
}

impl Key {
    fn is_known_to(&self, version: &Version) -> bool {
        *version >= version_of(self.from) && self.until.is_none_or(|until| *version < version_of(until))
    }
}

/// Returns why a key that a user wrote cannot be passed on.
pub(super) fn refuse(version: &Version, section: Section, name: &str, value: &str) -> Option<String> {
    let settings = || KEYS.iter().filter(|key| key.section == section && key.is_setting);
    let Some(key) = settings().find(|key| key.name == name) else {
        let known: Vec<_> = settings().filter(|key| key.is_known_to(version)).map(|key| key.name).collect();
        return Some(format!("it is no setting of CSI: write one of {}", known.join(", ")));
    };
    let from = version_of(key.from);
    if *version < from {
        return Some(format!("CSI {version} does not know it: choose {from} or later, or remove it"));
    }
    if let Some(until) = key.until.map(version_of).filter(|until| version >= until) {
        return Some(format!("CSI {version} does not know it, as it is gone since {until}: remove it"));
    }
    let is_number = value.parse::<u32>().is_ok();
    (!is_number).then(|| format!("{value:?} is no number: write one"))
}
