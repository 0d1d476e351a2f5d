//! From a path and a method to what the gateway does: a route of a capability, and a group of the monolith.
//!
//! Of several patterns that match, the most specific wins; of equals, the one that is declared first.

use banyan_core::Capability;
use banyan_core::capability::{Route, RouteKind};
use banyan_core::pattern::PathPattern;
use http::Method;
use std::cmp::Reverse;
use std::sync::Arc;

/// A capability's place in the configuration, by which tables, pools and figures are indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityIndex(pub usize);

/// The routes of all capabilities.
#[derive(Clone, Debug)]
pub struct Routes {
    capabilities: Arc<[Capability]>,
    /// (capability, route), the most specific first.
    order: Vec<(usize, usize)>,
}

/// How specific a pattern is; of two that match, the higher wins. A placeholder says more than a rest.
pub fn specificity(pattern: &PathPattern) -> impl Ord + use<> {
    (pattern.weight(), !pattern.to_string().ends_with("/*"))
}

/// A route that matches.
#[derive(Clone, Copy, Debug)]
pub struct Match<'r> {
    /// The capability's place.
    pub index: CapabilityIndex,
    /// The capability.
    pub capability: &'r Capability,
    /// The route.
    pub route: &'r Route,
}

impl Routes {
    /// The routes of these capabilities.
    pub fn new(capabilities: Arc<[Capability]>) -> Self {
        let mut order: Vec<(usize, usize)> = capabilities
            .iter()
            .enumerate()
            .flat_map(|(c, capability)| (0..capability.routes.len()).map(move |r| (c, r)))
            .collect();
        order.sort_by_key(|(c, r)| Reverse(specificity(&capabilities[*c].routes[*r].path)));
        Self { capabilities, order }
    }

    /// The capabilities, in the order of their indexes.
    pub fn capabilities(&self) -> &Arc<[Capability]> {
        &self.capabilities
    }

    /// The route of a normal path and an effective method. `GET` includes `HEAD`.
    pub fn find(&self, path: &str, method: &Method) -> Option<Match<'_>> {
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.of_path(path).find(|m| m.route.method == method)
    }

    /// Whether a method that overrides `POST` could turn a request for this path into one of a capability.
    pub fn can_override(&self, path: &str) -> bool {
        self.of_path(path).any(|m| m.route.kind != RouteKind::Page)
    }

    fn of_path<'r>(&'r self, path: &str) -> impl Iterator<Item = Match<'r>> {
        self.order
            .iter()
            .map(|(c, r)| {
                let capability = &self.capabilities[*c];
                Match { index: CapabilityIndex(*c), capability, route: &capability.routes[*r] }
            })
            .filter(move |m| m.route.path.matches(path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let declared = serde_json::json!([{
            "name": "notifications", "owner": "team", "service": "http://127.0.0.1:1", "tables": [],
            "routes": [
                { "method": "GET", "path": "/notifications", "kind": "page" },
                { "method": "POST", "path": "/api/notifications/{id}/read", "kind": "write" },
                { "method": "GET", "path": "/api/notifications/*", "kind": "read" },
                { "method": "GET", "path": "/api/notifications/{id}", "kind": "page" },
                { "method": "GET", "path": "/api/notifications/count", "kind": "read" },
                { "method": "DELETE", "path": "/api/notifications/{id}", "kind": "write" },
            ],
        }]);
        Routes::new(serde_json::from_value::<Vec<Capability>>(declared).unwrap().into())
    }

    #[test]
    fn the_most_specific_pattern_of_the_method_wins() {
        let routes = routes();
        let check = |method: Method, path: &str| {
            routes.find(path, &method).map(|m| (m.route.path.to_string(), m.route.kind))
        };
        let (read, write, page) = (RouteKind::Read, RouteKind::Write, RouteKind::Page);
        let found = |path: &str, kind| Some((path.to_owned(), kind));
        assert_eq!(check(Method::GET, "/api/notifications/count"), found("/api/notifications/count", read));
        assert_eq!(check(Method::HEAD, "/api/notifications/count"), found("/api/notifications/count", read));
        assert_eq!(check(Method::GET, "/api/notifications/7"), found("/api/notifications/{id}", page));
        assert_eq!(check(Method::GET, "/api/notifications/7/x"), found("/api/notifications/*", read));
        assert_eq!(check(Method::DELETE, "/api/notifications/7"), found("/api/notifications/{id}", write));
        assert_eq!(
            check(Method::POST, "/api/notifications/7/read"),
            found("/api/notifications/{id}/read", write)
        );
        assert_eq!(check(Method::POST, "/api/notifications/7"), None);
        assert_eq!(check(Method::GET, "/notifications/7"), None);
        assert_eq!(check(Method::OPTIONS, "/api/notifications/7"), None);
    }

    #[test]
    fn only_paths_beyond_pages_can_be_overridden() {
        assert!(routes().can_override("/api/notifications/7"));
        assert!(!routes().can_override("/notifications"));
        assert!(!routes().can_override("/login"));
    }
}
