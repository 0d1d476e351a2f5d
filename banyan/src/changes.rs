//! What differs between two configurations, key by key, and what of it a running process can take over.
//!
//! A process takes over what [`adopt`] copies. Everything else that differs is named, never passed over: the
//! comparison knows nothing of single keys.

use crate::cli::Role;
use crate::settings::Settings;
use banyan_core::Capability;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The settings by which a process that runs these roles goes on when the file says this.
///
/// Taken over are the gateway's options except those that are fixed, the capabilities' routes, the log's
/// filter; and the sections of roles that run elsewhere, which mean nothing here.
pub fn adopt(running: &Settings, file: &Settings, roles: &[Role]) -> Settings {
    let mut next = running.clone();
    next.log_filter.clone_from(&file.log_filter);
    if roles.contains(&Role::Gateway) {
        next.gateway = file.gateway.clone().fixed(&running.gateway);
        next.capabilities = with_routes(&running.capabilities, &file.capabilities);
    } else {
        next.gateway = file.gateway.clone();
    }
    if !roles.contains(&Role::Control) {
        next.control = file.control.clone();
    }
    if !roles.contains(&Role::Auth) {
        next.auth = file.auth.clone();
    }
    if !roles.contains(&Role::Sync) {
        next.sync = file.sync.clone();
    }
    if !roles.contains(&Role::Notify) {
        next.notify = file.notify.clone();
    }
    next
}

fn with_routes(running: &[Capability], file: &[Capability]) -> Arc<[Capability]> {
    let renewed = |capability: &Capability| {
        let declared = file.iter().find(|c| c.name == capability.name).unwrap_or(capability);
        Capability { routes: declared.routes.clone(), ..capability.clone() }
    };
    running.iter().map(renewed).collect()
}

/// The keys whose values differ, such as `gateway.groups.payments.in_flight_max`. Values are not told: some are
/// secrets.
///
/// # Errors
/// Never in practice: settings are plain data.
pub fn between<T: Serialize>(a: &T, b: &T) -> serde_json::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    compare("", (&serde_json::to_value(a)?, &serde_json::to_value(b)?), &mut found);
    Ok(found)
}

fn compare(at: &str, (a, b): (&Value, &Value), found: &mut BTreeSet<String>) {
    if a == b {
        return;
    }
    let (Some(left), Some(right)) = (fields(a), fields(b)) else {
        found.insert(at.to_owned());
        return;
    };
    let before = found.len();
    for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        let key = if at.is_empty() { (*name).to_owned() } else { format!("{at}.{name}") };
        match (left.get(name), right.get(name)) {
            (Some(a), Some(b)) => compare(&key, (a, b), found),
            _ => {
                found.insert(key);
            }
        }
    }
    if found.len() == before {
        // A list of the same things in another order.
        found.insert(at.to_owned());
    }
}

/// The parts of a section, or of a list of sections with names.
fn fields(value: &Value) -> Option<BTreeMap<&str, &Value>> {
    match value {
        Value::Object(section) => Some(section.iter().map(|(k, v)| (k.as_str(), v)).collect()),
        Value::Array(list) => list.iter().map(|v| Some((v.get("name")?.as_str()?, v))).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::init::TEMPLATE;
    use std::iter::zip;

    fn settings(changes: &[(&str, &str)]) -> Settings {
        let text = changes.iter().fold(TEMPLATE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        toml::from_str(&text).unwrap()
    }

    fn check(changes: &[(&str, &str)], roles: &[Role], wanted: [&[&str]; 2]) {
        let (running, file) = (settings(&[]), settings(changes));
        let next = adopt(&running, &file, roles);
        let found = [between(&running, &next).unwrap(), between(&next, &file).unwrap()];
        for (found, wanted) in zip(found, wanted) {
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), wanted, "{changes:?}");
        }
    }

    #[test]
    fn what_the_gateway_can_take_over_is_told_from_what_it_cannot() {
        let of_gateway = |changes: &[(&str, &str)], taken: &[&str], left: &[&str]| {
            check(changes, &[Role::Gateway], [taken, left]);
        };
        of_gateway(&[], &[], &[]);
        of_gateway(
            &[("in_flight_max = 4", "in_flight_max = 5")],
            &["gateway.groups.payments.in_flight_max"],
            &[],
        );
        of_gateway(
            &[("name = \"payments\"", "name = \"pay\"")],
            &["gateway.groups.pay", "gateway.groups.payments"],
            &[],
        );
        of_gateway(
            &[("[gateway]", "[gateway]\nworkers = 3\nhold_ms_max = 5")],
            &["gateway.hold_ms_max"],
            &["gateway.workers"],
        );
        of_gateway(&[("kind = \"page\"", "kind = \"read\"")], &["capability.notifications.routes"], &[]);
        of_gateway(&[("log_filter = \"info\"", "log_filter = \"warn\"")], &["log_filter"], &[]);
        of_gateway(
            &[("7100", "7200"), ("data_dir = \".banyan\"", "data_dir = \"d\""), ("secret@", "other@")],
            &[],
            &["data_dir", "listen.gateway", "monolith.database"],
        );
        of_gateway(
            &[
                ("service = \"http://127.0.0.1:7104\"", "service = \"http://127.0.0.1:1\""),
                ("name = \"users\"", "name = \"u\""),
            ],
            &[],
            &[
                "capability.notifications.service",
                "capability.notifications.tables.u",
                "capability.notifications.tables.users",
            ],
        );
        of_gateway(
            &[("name = \"notifications\"\nowner", "name = \"mail\"\nowner")],
            &[],
            &["capability.mail", "capability.notifications"],
        );
    }

    #[test]
    fn sections_of_other_roles_are_taken_over_without_effect() {
        let change = [("[control]", "[control]\nack_ms_max = 500")];
        check(&change, &[Role::Gateway], [&["control.ack_ms_max"], &[]]);
        check(&change, &Role::ALL, [&[], &["control.ack_ms_max"]]);
        let change = [("in_flight_max = 4", "in_flight_max = 5"), ("kind = \"page\"", "kind = \"read\"")];
        let routes: &[&str] = &["capability.notifications.routes"];
        check(&change, &[Role::Notify], [&["gateway.groups.payments.in_flight_max"], routes]);
    }

    #[test]
    fn another_order_is_a_difference() {
        let found = between(
            &serde_json::json!([{"name": "a"}, {"name": "b"}]),
            &serde_json::json!([{"name": "b"}, {"name": "a"}]),
        );
        assert_eq!(found.unwrap().len(), 1);
    }
}
