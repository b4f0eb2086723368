//! How AKO gets into a workload cluster: by this operator, or by TKG's add-on managers.

use infra_clients::capi::{AddonForm, Addons, Cluster};

use super::Ako;

/// What the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Setting {
    /// The add-on Secret where TKG's add-on managers are, else direct
    Auto,
    /// The operator writes AKO's objects into the workload clusters
    Direct,
    /// The operator writes the Secret from which TKG's add-on managers install AKO
    AddonSecret,
}

/// How one Cluster gets AKO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The operator writes AKO's objects into the workload cluster.
    Direct(Ako),
    /// The operator writes the Secret from which an add-on manager installs AKO.
    Addon,
}

/// How all Clusters get AKO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    with_topology: Way,
    without_topology: Way,
}

impl Ways {
    /// Chooses by the setting, and by what the management cluster serves.
    ///
    /// # Errors
    /// If a way needs an image of AKO and there is none: says what to write.
    pub fn choose(setting: Setting, ako: Option<&Ako>, served: Addons) -> Result<Self, String> {
        let way = |is_served: bool, clusters: &str, kind: &str| match (setting, ako) {
            (Setting::AddonSecret, _) => Ok(Way::Addon),
            (Setting::Auto, _) if is_served => Ok(Way::Addon),
            (_, Some(ako)) => Ok(Way::Direct(ako.clone())),
            (Setting::Auto, None) => Err(format!(
                "AKO has no image, and {clusters} get it directly, as the management cluster has no add-on manager of TKG for them (no \
                 {kind} of run.tanzu.vmware.com): name an image with --ako-image or AKO_IMAGE, or set AKO_DELIVERY=addon-secret"
            )),
            (Setting::Direct, None) => {
                Err("AKO has no image: name one with --ako-image or AKO_IMAGE".to_owned())
            }
        };
        Ok(Self {
            with_topology: way(served.bootstraps, "Clusters with a topology", "clusterbootstraps")?,
            without_topology: way(served.releases, "Clusters without a topology", "tanzukubernetesreleases")?,
        })
    }

    /// Returns the ways in which these Clusters get AKO; without Clusters, all ways.
    #[must_use]
    pub fn of_all<'a>(&self, clusters: impl IntoIterator<Item = &'a Cluster>) -> Vec<Way> {
        let mut ways: Vec<_> = clusters.into_iter().map(|cluster| self.of(cluster)).collect();
        if ways.is_empty() {
            ways = vec![&self.with_topology, &self.without_topology];
        }
        let mut distinct: Vec<Way> = Vec::new();
        for way in ways {
            if !distinct.contains(way) {
                distinct.push(way.clone());
            }
        }
        distinct
    }

    /// Returns how a Cluster gets AKO.
    #[must_use]
    pub fn of(&self, cluster: &Cluster) -> &Way {
        if cluster.is_class_based() { &self.with_topology } else { &self.without_topology }
    }
}

/// Returns who reads the add-on Secret of a Cluster.
#[must_use]
pub fn form_of(cluster: &Cluster) -> AddonForm {
    if cluster.is_class_based() { AddonForm::ClusterBootstrap } else { AddonForm::Legacy }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn add_on_managers_deliver_where_they_are_unless_the_user_says_otherwise() {
        let ako = || Some(Ako { image: "ako".to_owned(), ..Ako::default() });
        let (all, none) =
            (Addons { bootstraps: true, releases: true }, Addons { bootstraps: false, releases: false });
        let classic = Addons { bootstraps: false, releases: true };
        let rows = [
            (Setting::Auto, ako(), none, Ok(["direct", "direct"])),
            (Setting::Auto, ako(), classic, Ok(["direct", "add-on"])),
            (Setting::Auto, ako(), all, Ok(["add-on", "add-on"])),
            (Setting::Auto, None, all, Ok(["add-on", "add-on"])),
            (Setting::Auto, None, classic, Err("Clusters with a topology get it directly")),
            (Setting::Auto, None, none, Err("AKO_DELIVERY=addon-secret")),
            (Setting::Direct, ako(), all, Ok(["direct", "direct"])),
            (Setting::Direct, None, all, Err("name one with --ako-image or AKO_IMAGE")),
            (Setting::AddonSecret, ako(), none, Ok(["add-on", "add-on"])),
            (Setting::AddonSecret, None, none, Ok(["add-on", "add-on"])),
        ];
        let cluster = |topology| -> Cluster {
            serde_json::from_value(
                json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "spec": {"topology": topology}}),
            )
            .unwrap()
        };
        let clusters = [cluster(json!({"classRef": {"name": "c"}})), cluster(json!(null))];
        let mixed = Ways::choose(Setting::Auto, ako().as_ref(), classic).unwrap();
        let [topology, plain] = &clusters;
        let direct = Way::Direct(ako().unwrap());
        assert_eq!(mixed.of_all([]), [direct.clone(), Way::Addon]);
        assert_eq!(mixed.of_all([topology, topology]), std::slice::from_ref(&direct));
        assert_eq!(mixed.of_all([plain, topology]), [Way::Addon, direct]);
        for (setting, ako, served, wanted) in rows {
            let chosen = Ways::choose(setting, ako.as_ref(), served);
            let name = |way: &Way| if *way == Way::Addon { "add-on" } else { "direct" };
            let found = chosen.map(|ways| clusters.each_ref().map(|cluster| name(ways.of(cluster))));
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{setting:?} {served:?}"),
                (Err(message), Err(wanted)) => assert!(message.contains(wanted), "{message}"),
                (found, _) => panic!("{setting:?} {served:?}: {found:?}"),
            }
        }
        assert_eq!(clusters.each_ref().map(form_of), [AddonForm::ClusterBootstrap, AddonForm::Legacy]);
    }
}
