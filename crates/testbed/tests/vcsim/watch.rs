//! A client of the property collector that follows which machines a container view has.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::{SOON, Sdk, reference};

/// One collector on the machines below a folder.
pub(crate) struct Watch<'a> {
    sdk: &'a Sdk,
    collector: String,
    version: String,
    /// The managed objects' values of the machines that the collector shows.
    pub(crate) shown: BTreeSet<String>,
}

impl Sdk {
    /// Creates a collector on the machines below a folder.
    pub(crate) async fn watch(&self, folder_path: &str) -> Watch<'_> {
        let folder = self.find("Folder", folder_path).await;
        let args = format!(
            r#"<container type="Folder">{folder}</container><type>VirtualMachine</type><recursive>1</recursive>"#
        );
        let (_, body) = self.call("CreateContainerView", ("ViewManager", "ViewManager"), &args).await;
        let view = reference("ContainerView", &body).unwrap();
        let (_, body) =
            self.call("CreatePropertyCollector", ("PropertyCollector", "propertyCollector"), "").await;
        let collector = reference("PropertyCollector", &body).unwrap();
        let args = format!(
            r#"<spec><propSet><type>VirtualMachine</type><pathSet>parent</pathSet></propSet>
               <objectSet><obj type="ContainerView">{view}</obj><skip>1</skip>
               <selectSet xsi:type="TraversalSpec"><type>ContainerView</type><path>view</path></selectSet>
               </objectSet></spec><partialUpdates>0</partialUpdates>"#
        );
        let (status, body) = self.call("CreateFilter", ("PropertyCollector", &collector), &args).await;
        assert_eq!(status, 200, "{body}");
        Watch { sdk: self, collector, version: String::new(), shown: BTreeSet::new() }
    }
}

impl Watch<'_> {
    /// Reads updates until the condition on what is shown holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&BTreeSet<String>) -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds(&self.shown) {
            assert!(Instant::now() < deadline, "not within {SOON:?}: {what}; shown: {:?}", self.shown);
            let args = format!(
                "<version>{}</version><options><maxWaitSeconds>1</maxWaitSeconds></options>",
                self.version
            );
            let (status, body) =
                self.sdk.call("WaitForUpdatesEx", ("PropertyCollector", &self.collector), &args).await;
            assert_eq!(status, 200, "{body}");
            self.read(&body);
        }
    }

    fn read(&mut self, body: &str) {
        if let Some(rest) = body.split("<version>").nth(1) {
            rest.split('<').next().unwrap().clone_into(&mut self.version);
        }
        for update in body.split("<objectSet>").skip(1) {
            let machine = reference("VirtualMachine", update).unwrap();
            if update.contains("<kind>leave</kind>") {
                assert!(self.shown.remove(&machine), "{machine} leaves and was not shown");
            } else {
                self.shown.insert(machine);
            }
        }
    }
}
