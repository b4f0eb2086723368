//! Creates events at the API server, and extends the series of equal ones. Owns the names of events; queues nothing.
//!
//! kube's recorder names an event after its object and a time of 16 digits, so that the API server refuses the events of an
//! object whose own name is longer than 236 characters.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};

use super::Notice;
use crate::conditions::cut;

/// How long an event that repeats is one series: as long as kube's recorder and client-go.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// Longest name of an object, in bytes.
const NAME_LIMIT: usize = 253;

/// What is the same in all events of a series.
#[derive(Eq, Hash, PartialEq)]
struct Same {
    /// UID of the object.
    object: Option<String>,
    is_warning: bool,
    reason: &'static str,
    note: String,
}

/// The event that stands for a series.
struct Series {
    name: String,
    count: i32,
    last: Timestamp,
}

/// Publishes the events of one process.
pub(super) struct Recorder {
    client: Client,
    /// Name of the operator.
    controller: String,
    /// Name of its pod.
    instance: String,
    series: HashMap<Same, Series>,
}

impl Recorder {
    pub(super) fn new(client: Client, controller: String, instance: String) -> Self {
        Self { client, controller, instance, series: HashMap::new() }
    }

    /// Creates an event about `object`, or counts it with an equal one of the last 6 minutes.
    pub(super) async fn publish(
        &mut self,
        notice: &Notice,
        object: &ObjectReference,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        self.series.retain(|_, series| now.duration_since(series.last) < SERIES);
        let same = Same {
            object: object.uid.clone(),
            is_warning: notice.is_warning,
            reason: notice.reason,
            note: notice.message.clone(),
        };
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let api: Api<v1::Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(series) = self.series.get_mut(&same) {
            let counted = serde_json::json!({
                "series": { "count": series.count + 1, "lastObservedTime": MicroTime(now) },
            });
            match api.patch(&series.name, &PatchParams::default(), &Patch::Merge(counted)).await {
                Ok(_) => {
                    (series.count, series.last) = (series.count + 1, now);
                    return Ok(());
                }
                // Another client has removed it.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.event(notice, object, now);
        let created = api.create(&PostParams::default(), &event).await?;
        let name = created.metadata.name.unwrap_or_default();
        self.series.insert(same, Series { name, count: 1, last: now });
        Ok(())
    }

    fn event(&self, notice: &Notice, object: &ObjectReference, now: Timestamp) -> v1::Event {
        let mut event = v1::Event {
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(notice.message.clone()),
            reason: Some(notice.reason.to_owned()),
            regarding: Some(object.clone()),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if notice.is_warning { "Warning" } else { "Normal" }.to_owned()),
            ..v1::Event::default()
        };
        event.metadata.namespace.clone_from(&object.namespace);
        event.metadata.name = Some(name(object.name.as_deref().unwrap_or(&self.controller), now));
        event
    }
}

/// Returns the name of an event: that of its object, shortened if need be, and the time.
fn name(object: &str, now: Timestamp) -> String {
    let time = format!(".{:x}", now.as_nanosecond());
    // A part of a name must not end in a hyphen or a dot.
    let object = cut(object, NAME_LIMIT - time.len()).trim_end_matches(['-', '.']);
    format!("{object}{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_event_is_one_whatever_the_objects_name_is() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let time = ".18fae27693b40000";
        assert_eq!(name("web", now), format!("web{time}"));
        let longest = "g".repeat(236);
        for (object, kept) in [
            (longest.clone(), longest.clone()),
            ("g".repeat(253), longest.clone()),
            (format!("{}-g{}", "g".repeat(235), "g".repeat(16)), "g".repeat(235)),
            (format!("{}.g", "g".repeat(235)), "g".repeat(235)),
        ] {
            let name = name(&object, now);
            assert_eq!(name, format!("{kept}{time}"));
            assert!(name.len() <= NAME_LIMIT);
        }
    }
}
