//! For any matrix and any surroundings: the chosen fits by rules that are written here a second time, and no higher version does.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

type Minor = (u64, u64);

/// Trial, needs CPI, revoked, maintained for long.
type Marks = (bool, bool, bool, bool);

/// A release of plain numbers.
#[derive(Clone, Debug)]
struct Plain {
    version: (u64, u64, u64),
    marks: Marks,
    kubernetes: (Option<u64>, Option<u64>),
    vsphere: (Option<Minor>, Option<Minor>),
    upgrade_from: Option<(u64, u64, u64)>,
}

#[derive(Clone, Debug)]
struct World {
    releases: Vec<Plain>,
    kubernetes: u64,
    vcenters: Vec<(u64, u64, u64)>,
    has_cpi: bool,
    installed: Option<(u64, u64, u64)>,
    /// 0: latest, 1: patch, 2: LTS, 3: pinned to the version.
    policy: u8,
    pin: (u64, u64, u64),
}

fn numbers() -> impl Strategy<Value = (u64, u64, u64)> {
    (1..3u64, 8..12u64, 0..3u64)
}

fn plain() -> impl Strategy<Value = Plain> {
    let vsphere = || option::of((6..9u64, 0..8u64));
    (
        (numbers(), any::<bool>()),
        (option::of(30..33u64), option::of(31..35u64)),
        (vsphere(), vsphere()),
        (any::<bool>(), 0..5u8, any::<bool>(), option::of(numbers())),
    )
        .prop_map(
            |((version, trial), kubernetes, vsphere, (needs_cpi, revoked, is_lts, upgrade_from))| Plain {
                version,
                marks: (trial && version.2 == 0, needs_cpi, revoked == 0, is_lts),
                kubernetes,
                vsphere,
                upgrade_from,
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    (
        vec(plain(), 0..12),
        30..35u64,
        vec((6..9u64, 0..8u64, 0..4u64), 0..4),
        any::<bool>(),
        option::of(numbers()),
        (0..4u8, numbers()),
    )
        .prop_map(|(releases, kubernetes, vcenters, has_cpi, installed, (policy, pin))| World {
            releases,
            kubernetes,
            vcenters,
            has_cpi,
            installed,
            policy,
            pin,
        })
}

impl World {
    fn matrix(&self) -> Matrix {
        let mut matrix = Matrix::default();
        for plain in &self.releases {
            let end = |numbers: Option<Minor>| numbers.map(|(a, b)| format!("{a}.{b}").parse().unwrap());
            let minor = |minor: Option<u64>| end(minor.map(|minor| (1, minor)));
            let release = Release {
                vsphere: Range { min: end(plain.vsphere.0), max: end(plain.vsphere.1) },
                kubernetes: Range { min: minor(plain.kubernetes.0), max: minor(plain.kubernetes.1) },
                is_cpi_required: plain.marks.1,
                revoked: plain.marks.2.then(|| "why".to_owned()),
                is_lts: plain.marks.3,
                upgrade_from: plain.upgrade_from.map(|(a, b, c)| Version::new(a, b, c)),
                ..Release::default()
            };
            matrix.add(Driver::Csi, plain.name(), release);
        }
        matrix
    }

    /// Whether a release fits. The matrix keeps the last of those with the same version.
    fn fits(&self, plain: &Plain) -> bool {
        let Plain { kubernetes: (oldest, newest), vsphere: (lowest, highest), .. } = plain;
        let is_one_minor = oldest.is_some() && oldest == newest;
        let (version, installed) = (plain.version, self.installed);
        let works = !plain.marks.0
            && !plain.marks.2
            && oldest.is_none_or(|oldest| self.kubernetes >= oldest)
            && newest.is_none_or(|newest| self.kubernetes <= newest)
            && (!plain.marks.1 || self.has_cpi)
            && self.vcenters.iter().all(|(major, minor, _)| {
                lowest.is_none_or(|lowest| (*major, *minor) >= lowest)
                    && highest.is_none_or(|highest| (*major, *minor) <= highest)
            });
        let wanted = match self.policy {
            0 => true,
            1 => is_one_minor || installed.is_none_or(|(a, b, _)| (a, b) == (version.0, version.1)),
            2 => plain.marks.3,
            _ => version == self.pin,
        };
        let reachable = installed.is_none_or(|installed| {
            let enough = plain.upgrade_from.is_none_or(|oldest| installed >= oldest);
            (version >= installed || self.policy == 3) && (version <= installed || enough)
        });
        works && wanted && reachable
    }

    fn policy(&self) -> Policy {
        match self.policy {
            0 => Policy::Latest,
            1 => Policy::Patch,
            2 => Policy::Lts,
            _ => Policy::Pinned(Version::new(self.pin.0, self.pin.1, self.pin.2)),
        }
    }

    fn choice(&self) -> Choice {
        let vcenters = self.vcenters.iter().map(|&(major, minor, update)| Vcenter {
            server: "vc".to_owned(),
            version: Vsphere { major, minor, update },
        });
        let surroundings = Surroundings {
            kubernetes: Kubernetes { major: 1, minor: self.kubernetes, patch: 3 },
            vcenters: vcenters.collect(),
            has_cpi: self.has_cpi,
        };
        let installed = self.installed.map(|(a, b, c)| Version::new(a, b, c));
        choose(&self.matrix(), Driver::Csi, &surroundings, &self.policy(), &History::of(installed.as_ref()))
    }
}

impl Plain {
    fn name(&self) -> Version {
        let (a, b, c) = self.version;
        format!("{a}.{b}.{c}{}", if self.marks.0 { "-rc.1" } else { "" }).parse().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_chosen_fits_and_no_higher_one_does(world in world()) {
        let choice = world.choice();
        let mut fitting: Vec<_> = world.releases.iter().enumerate().filter(|(index, plain)| {
            let is_last = world.releases[index + 1..].iter().all(|later| later.name() != plain.name());
            is_last && world.fits(plain)
        }).map(|(_, plain)| plain.name()).collect();
        fitting.sort();
        prop_assert_eq!(choice.version.as_ref(), fitting.last(), "{}", choice.explain());
        for (version, against) in &choice.candidates {
            prop_assert_eq!(against.is_empty(), fitting.contains(version), "{} {:?}", version, against);
        }
    }

    /// What was chosen stays chosen once it is installed, unless a newer one can be reached from it.
    #[test]
    fn choosing_again_never_goes_back(world in world()) {
        if let Some(first) = world.choice().version {
            let (major, minor) = first.minor();
            let patch = first.to_string().rsplit('.').next().unwrap().parse().unwrap();
            let next = World { installed: Some((major, minor, patch)), ..world };
            let second = next.choice();
            prop_assert!(second.version >= Some(first), "{}", second.explain());
        }
    }
}
