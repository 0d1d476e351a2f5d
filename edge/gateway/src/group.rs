//! Bounds on the requests in flight towards the monolith, by route group.
//!
//! A place is kept until the monolith's answer has been received whole, or the exchange has failed; a client
//! that goes away does not free it earlier, since the monolith's worker goes on. What exceeds a bound waits
//! for a moment, so that a burst is no failure, and is then refused.

use banyan_core::pattern::PathPattern;
use prometheus::IntGauge;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::bound::{Bound, Permit};
use crate::config::{Config, REST};
use crate::metrics::IN_FLIGHT;
use crate::route::specificity;

/// One group.
#[derive(Debug)]
pub struct Group {
    name: String,
    places: Arc<Bound>,
    queue_max: Duration,
    gauge: IntGauge,
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    groups: Vec<Arc<Group>>,
    rest: Arc<Group>,
    members: Vec<Member>,
}

/// Routes of a group; the most specific come first.
#[derive(Debug)]
struct Member {
    pattern: PathPattern,
    /// Empty: any.
    methods: Vec<String>,
    group: usize,
}

/// A request's place in a group, given back when dropped.
#[derive(Debug)]
pub struct Place {
    group: Arc<Group>,
    _permit: Permit,
}

impl Groups {
    /// The groups of the configuration, and the one of everything else. One that was there before keeps its
    /// places, so that what is in flight counts against its new bound.
    pub fn new(config: &Config, before: Option<&Self>) -> Self {
        let mut members: Vec<Member> = Vec::new();
        for (index, group) in config.groups.iter().enumerate() {
            let member = |path: &PathPattern| Member {
                pattern: path.clone(),
                methods: group.methods.clone(),
                group: index,
            };
            members.extend(group.paths.iter().map(member));
        }
        members.sort_by_key(|member| Reverse(specificity(&member.pattern)));
        let queue_max = Duration::from_millis(config.group_queue_ms_max);
        let group = |name: &str, max: usize| match before.and_then(|b| b.named(name)) {
            Some(known) => known.again(max, queue_max),
            None => Group::new(name, max, queue_max),
        };
        let groups = config.groups.iter().map(|g| group(&g.name, g.in_flight_max)).collect();
        Self { groups, rest: group(REST, config.in_flight_max), members }
    }

    /// The group of a method and a normal path.
    pub fn of(&self, method: &str, path: &str) -> &Arc<Group> {
        let belongs = |member: &&Member| {
            let any = member.methods.is_empty();
            (any || member.methods.iter().any(|m| m == method)) && member.pattern.matches(path).is_some()
        };
        self.members.iter().find(belongs).map_or(&self.rest, |member| &self.groups[member.group])
    }

    fn named(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.iter().chain([&self.rest]).find(|group| group.name == name)
    }

    /// The names, `rest` last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().chain([&self.rest]).map(|g| g.name.as_str())
    }
}

impl Group {
    fn new(name: &str, in_flight_max: usize, queue_max: Duration) -> Arc<Self> {
        let gauge = IN_FLIGHT.with_label_values(&[name]);
        Arc::new(Self { name: name.into(), places: Bound::new(in_flight_max), queue_max, gauge })
    }

    /// The same group with other bounds.
    fn again(&self, in_flight_max: usize, queue_max: Duration) -> Arc<Self> {
        self.places.resize(in_flight_max);
        let (name, places, gauge) = (self.name.clone(), self.places.clone(), self.gauge.clone());
        Arc::new(Self { name, places, queue_max, gauge })
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bound.
    pub fn in_flight_max(&self) -> usize {
        self.places.max()
    }

    /// A place, or `None` where the bound stays reached for the time that a request may wait.
    pub async fn enter(self: &Arc<Self>) -> Option<Place> {
        // Most find a place at once, and need no timer. Whoever waits already is not overtaken: what becomes free
        // goes to the first of them.
        let permit = match self.places.try_enter() {
            Some(permit) => permit,
            None => tokio::time::timeout(self.queue_max, self.places.enter()).await.ok()?,
        };
        self.gauge.inc();
        Some(Place { group: Arc::clone(self), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.group.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GroupConfig;

    #[tokio::test]
    async fn a_group_has_as_many_places_as_its_bound() {
        let group = |name: &str, path: &str, methods: &[&str]| GroupConfig {
            name: name.into(),
            paths: vec![path.parse().unwrap()],
            methods: methods.iter().map(|m| (*m).into()).collect(),
            in_flight_max: 2,
        };
        let config = Config {
            in_flight_max: 3,
            group_queue_ms_max: 10,
            groups: vec![
                group("wide", "/payments/*", &["POST", "PUT"]),
                group("narrow", "/payments/new", &[]),
            ],
            ..Config::default()
        };
        let groups = Groups::new(&config, None);
        let name = |method: &str, path: &str| groups.of(method, path).name().to_owned();
        assert_eq!(
            [
                name("POST", "/payments/new"),
                name("POST", "/payments"),
                name("GET", "/payments"),
                name("PUT", "/x")
            ],
            ["narrow", "wide", "rest", "rest"]
        );
        assert_eq!(groups.names().collect::<Vec<_>>(), ["wide", "narrow", "rest"]);
        let wide = groups.of("POST", "/payments");
        let places = [wide.enter().await, wide.enter().await];
        assert!(places.iter().all(Option::is_some) && wide.enter().await.is_none());
        assert!(groups.of("POST", "/x").enter().await.is_some());
        let (waiting, ()) = tokio::join!(wide.enter(), async { drop(places) });
        assert!(waiting.is_some(), "a request that waits gets the place that becomes free");
    }

    #[tokio::test]
    async fn what_is_in_flight_counts_against_the_bound_of_a_later_configuration() {
        let config = |in_flight_max| Config { in_flight_max, group_queue_ms_max: 10, ..Config::default() };
        let before = Groups::new(&config(2), None);
        let rest = |groups: &Groups| groups.of("GET", "/").clone();
        let places = [rest(&before).enter().await, rest(&before).enter().await];
        let after = Groups::new(&config(3), Some(&before));
        let third = rest(&after).enter().await;
        assert!(third.is_some() && rest(&after).enter().await.is_none());
        let after = Groups::new(&config(1), Some(&after));
        drop(third);
        assert!(rest(&after).enter().await.is_none());
        drop(places);
        assert!(rest(&after).enter().await.is_some());
    }
}
