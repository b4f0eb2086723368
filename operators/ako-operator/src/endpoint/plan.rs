//! What to do about the endpoint of a Cluster: a pure function of what was seen.
//!
//! ```text
//!   Service ──▶ EndpointSlice ──▶ AKO gives an address ──▶ endpoint of the Cluster, once ──▶ Machines get addresses ──▶ settled
//! ```

use std::net::IpAddr;
use std::time::Duration;

use infra_clients::capi::{Cluster, Endpoint, IpFamily};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use operator_kit::conditions::Status;
use operator_kit::{Notice, Turn};
use serde_json::Value;

use super::objects::{
    Wish, address, asked_address, change_service, change_slice, is_of, is_service_name, service,
    service_name, slice,
};
use super::seen::{Infra, Seen};
use super::settings::{HOST_VARIABLE, asked, host};
use crate::api::{LATER_HA_FINALIZER, MANAGEMENT_LABEL, condition, reason};
use crate::conditions::Said;

/// How often is looked for what nothing reports: names of a name server, and the AviInfraSetting.
const AGAIN: Duration = Duration::from_secs(15);

/// What `apply` does.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Creates the Service.
    CreateService(Box<Service>),
    /// Changes the Service, by a merge patch.
    ChangeService(Value),
    /// Creates the EndpointSlice.
    CreateSlice(Box<EndpointSlice>),
    /// Changes the EndpointSlice, by a merge patch.
    ChangeSlice(Value),
    /// Writes the endpoint of the Cluster.
    SetEndpoint(Endpoint),
    /// Writes the host of the endpoint into the topology variable.
    SetVariable(String),
    /// Removes the Endpoints of the original operator, which the EndpointSlice replaces.
    RemoveEndpoints,
    /// Writes the condition of the Cluster.
    Report(Report),
}

/// A change of the condition.
#[derive(Clone, Debug)]
pub struct Report {
    /// The condition; `None`: it is removed.
    pub said: Option<Said>,
    /// The event for the change.
    pub notice: Option<Notice>,
}

/// Decides what to do next. A turn that ends the pass is in the condition of the Cluster before.
#[must_use]
pub fn decide(cluster: &Cluster, seen: &Seen) -> Turn<Plan> {
    let turn = next(cluster, seen);
    match report(cluster, seen, &turn) {
        Some(report) => Turn::LookAgain(Plan::Report(report)),
        None => turn,
    }
}

/// Decides what to do next, apart from the condition.
fn next(cluster: &Cluster, seen: &Seen) -> Turn<Plan> {
    // What was made stays where AVI is not the provider any more: it may still serve the control plane.
    if cluster.is_paused() || !seen.settings.is_provider(cluster) {
        return Turn::Settled;
    }
    let family = match &seen.family {
        Ok(family) => *family,
        Err(message) => return blocked(reason::IP_FAMILY_UNSUPPORTED, message.clone()),
    };
    let name = service_name(cluster);
    if !is_service_name(&name) {
        let message = format!(
            "the Service of the control plane would be {name:?}, and Kubernetes accepts at most 63 lower-case letters, digits and hyphens, \
             with a letter first: give the Cluster or its namespace another name"
        );
        return blocked(reason::SERVICE_NAME_INVALID, message);
    }
    let live = seen.service.as_deref();
    if let Some(turn) = live.and_then(|live| in_the_way(cluster, live)) {
        return turn;
    }
    let wanted = match wish(cluster, seen, family) {
        Ok(wish) => service(cluster, &wish),
        Err(turn) => return *turn,
    };
    let Some(live) = live else { return Turn::LookAgain(Plan::CreateService(Box::new(wanted))) };
    if let Some(change) = change_service(live, &wanted) {
        return Turn::Act(Plan::ChangeService(change));
    }
    // Before the API server has accepted a request no Machine is ready, and it accepts none that does not come through AVI.
    let ready_only = seen.settings.ready_only && cluster.control_plane_initialized();
    let wanted = slice(live, family.is_v4_first(), &seen.members, ready_only);
    let Some(known) = seen.slice.as_deref() else {
        return Turn::LookAgain(Plan::CreateSlice(Box::new(wanted)));
    };
    if let Some(change) = change_slice(known, &wanted) {
        return Turn::Act(Plan::ChangeSlice(change));
    }
    serve(cluster, seen, live)
}

/// Decides what follows once the Service is as it is to be.
fn serve(cluster: &Cluster, seen: &Seen, live: &Service) -> Turn<Plan> {
    let name = service_name(cluster);
    let Some(has) = address(live) else {
        let message = format!(
            "AKO of the management cluster has given the Service {name} no address yet: if that lasts, look at AKO's log in avi-system, and \
             at the events of the Service"
        );
        return wait(reason::ADDRESS_PENDING, message, None);
    };
    if let Some(asks) = asked_address(live).filter(|asks| *asks != has) {
        let message = format!(
            "AVI has given the Service {name} the address {has}, and the control plane is to be reached at {asks}: free {asks} on AVI, then \
             delete the Service; it is made again with that address"
        );
        return blocked(reason::ADDRESS_DIFFERS, message);
    }
    let Some(endpoint) = cluster.control_plane_endpoint() else {
        if let Some(subnet) = seen.subnet.filter(|subnet| host(cluster).is_none() && !subnet.contains(&has)) {
            let message = format!(
                "AVI has given the Service {name} the address {has}, which is not in {subnet} of spec.controlPlaneNetwork, and an endpoint never \
                 changes: AKO of the management cluster had not accepted the AviInfraSetting that the Service names; once its status says \
                 that, delete the Service; it is made again"
            );
            return blocked(reason::ADDRESS_DIFFERS, message);
        }
        let named = host(cluster).filter(|host| host.parse::<IpAddr>().is_err());
        let host = named.unwrap_or_else(|| has.to_string());
        return Turn::LookAgain(Plan::SetEndpoint(Endpoint { host, port: seen.settings.port(cluster) }));
    };
    let variable = cluster.variable::<String>(HOST_VARIABLE).map(Option::unwrap_or_default);
    if cluster.is_class_based() && variable.is_ok_and(|host| host.is_empty()) {
        return Turn::LookAgain(Plan::SetVariable(endpoint.host.clone()));
    }
    if seen.members.is_empty() {
        let message = "no Machine of the control plane has an address of the Cluster's first family yet: if that lasts, look at \
                       status.addresses of its Machines";
        return wait(reason::NO_ADDRESSES, message.to_owned(), None);
    }
    if seen.is_mirrored {
        return Turn::Act(Plan::RemoveEndpoints);
    }
    Turn::Settled
}

/// Decides about a Service that cannot be used.
fn in_the_way(cluster: &Cluster, live: &Service) -> Option<Turn<Plan>> {
    let name = service_name(cluster);
    if live.metadata.deletion_timestamp.is_some() {
        let message = format!(
            "the Service {name} is being deleted, and its finalizers keep it: remove {LATER_HA_FINALIZER} from it; it is made again with the \
             same address"
        );
        return Some(wait(reason::SERVICE_ENDING, message, None));
    }
    (!is_of(live, cluster)).then(|| {
        let message = format!(
            "another program made a Service {name} in the namespace of the Cluster: remove it, or give the Cluster another name"
        );
        blocked(reason::SERVICE_OF_OTHERS, message)
    })
}

/// Returns what the Service is to be like, or what has to be there first.
fn wish(cluster: &Cluster, seen: &Seen, family: IpFamily) -> Result<Wish, Box<Turn<Plan>>> {
    let live = seen.service.as_deref();
    if let Some(message) = seen.unclear.as_ref().filter(|_| live.is_none()) {
        // Its address never changes, and may be of another network than that AKODeploymentConfig says.
        return Err(Box::new(blocked(reason::ADC_INVALID, message.clone())));
    }
    if live.is_none() && !seen.has_adc && cluster.label(MANAGEMENT_LABEL).is_some() {
        let message = "no AKODeploymentConfig selects the management cluster, so it is not known where on AVI its control plane is to be: \
                       create one that does"
            .to_owned();
        return Err(Box::new(wait(reason::ADC_MISSING, message, None)));
    }
    let infra = match &seen.infra {
        Infra::Missing { name, is_apart: true, is_installed } if live.is_none() => {
            return Err(Box::new(without_infra(name, *is_installed)));
        }
        Infra::Unaccepted { name, refused } if live.is_none() => {
            return Err(Box::new(unaccepted(name, refused.as_deref())));
        }
        Infra::There(name) | Infra::Unaccepted { name, .. } => Some(name.clone()),
        Infra::Unneeded | Infra::Missing { .. } => None,
    };
    let is_v4 = family.is_v4_first();
    let address = match host(cluster) {
        None => None,
        Some(host) => Some(address_of(&host, seen, is_v4)?),
    };
    Ok(Wish { is_v4, port: seen.settings.port(cluster), address, infra })
}

fn without_infra(name: &str, is_installed: bool) -> Turn<Plan> {
    let hint = if is_installed {
        "its AKODeploymentConfig makes it once that is Ready"
    } else {
        "install AKO's CustomResourceDefinitions in the management cluster"
    };
    let message = format!(
        "the AviInfraSetting {name} does not exist, so AVI would take the address from the data network and not from that of the control \
         planes: {hint}"
    );
    wait(reason::INFRA_SETTING_MISSING, message, Some(AGAIN))
}

fn unaccepted(name: &str, refused: Option<&str>) -> Turn<Plan> {
    let why = refused.map_or_else(
        || "if that lasts, look at AKO's log in avi-system".to_owned(),
        |refused| {
            format!("AKO refuses it: {refused}; correct what its AKODeploymentConfig says of the network")
        },
    );
    let message = format!(
        "AKO of the management cluster has not accepted the AviInfraSetting {name} yet, so AVI would take the address from the data network \
         and not from that of the control planes: {why}"
    );
    wait(reason::INFRA_SETTING_PENDING, message, Some(AGAIN))
}

/// Returns the address for a host: itself, or the one that a name had when the Service was made.
fn address_of(host: &str, seen: &Seen, is_v4: bool) -> Result<IpAddr, Box<Turn<Plan>>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        if address.is_ipv4() == is_v4 {
            return Ok(address);
        }
        let message = format!(
            "the control plane is to be reached at {host}, which is no address of the Cluster's first family"
        );
        return Err(Box::new(blocked(reason::IP_FAMILY_UNSUPPORTED, message)));
    }
    let live = seen.service.as_deref();
    if let Some(known) = live.and_then(|live| asked_address(live).or_else(|| address(live))) {
        return Ok(known);
    }
    let problem = match &seen.resolved {
        Some(Ok(addresses)) => match addresses.iter().find(|address| address.is_ipv4() == is_v4) {
            Some(address) => return Ok(*address),
            None => "it has no address of the Cluster's first family",
        },
        Some(Err(problem)) => problem,
        None => "it was not looked up",
    };
    let message = format!(
        "the name {host:?} of the control plane cannot be resolved: {problem}; correct it, or add it to the name server"
    );
    Err(Box::new(wait(reason::NAME_UNRESOLVED, message, Some(AGAIN))))
}

fn wait(reason: &'static str, message: String, after: Option<Duration>) -> Turn<Plan> {
    Turn::Wait { reason, message, after }
}

fn blocked(reason: &'static str, message: String) -> Turn<Plan> {
    Turn::Blocked { reason, message }
}

/// Returns how the condition has to change before a turn ends the pass; `None` if it is right, or the pass goes on.
fn report(cluster: &Cluster, seen: &Seen, turn: &Turn<Plan>) -> Option<Report> {
    if cluster.is_paused() {
        return None;
    }
    let say = |status, reason: &str, message: &str| {
        Some(Said::new(condition::ENDPOINT_READY, status, reason, message))
    };
    let said = match turn {
        Turn::Act(_) | Turn::LookAgain(_) => return None,
        _ if !seen.settings.is_provider(cluster) => None,
        Turn::Settled | Turn::Gone => say(Status::True, reason::ENDPOINT_READY, &reached(cluster)),
        Turn::Wait { reason, message, .. } | Turn::Blocked { reason, message } => {
            say(Status::False, reason, message)
        }
    };
    if said == seen.said {
        return None;
    }
    let before = seen.said.as_ref().map(|said| said.reason.as_str());
    let news = said.as_ref().filter(|said| before != Some(said.reason.as_str()));
    let notice = news.and_then(|said| notice(turn, &said.message));
    Some(Report { said, notice })
}

/// Returns the event for a new reason. The driver publishes those that need a person.
fn notice(turn: &Turn<Plan>, message: &str) -> Option<Notice> {
    match turn {
        Turn::Settled => Some(Notice::normal(reason::ENDPOINT_READY, message)),
        Turn::Wait { reason: reason @ (reason::ADDRESS_PENDING | reason::NO_ADDRESSES), .. } => {
            Some(Notice::normal(reason, message))
        }
        Turn::Wait { reason, .. } => Some(Notice::warning(reason, message)),
        _ => None,
    }
}

/// Says where the control plane is reached.
fn reached(cluster: &Cluster) -> String {
    let Some(Endpoint { host, port }) = cluster.control_plane_endpoint() else { return String::new() };
    let other = asked(cluster).filter(|asked| asked != host);
    let other = other.map_or_else(String::new, |other| {
        format!("; it cannot move to {other:?}, which the Cluster asks for")
    });
    format!("AVI balances the control plane at {host}, port {port}{other}")
}

#[cfg(test)]
mod tests;
