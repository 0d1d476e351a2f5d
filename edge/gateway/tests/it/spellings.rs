//! No spelling of a path or a method leads past the owner of a capability.

use banyan_core::{Phase, Side};

use crate::client::{Ask, raw};
use crate::world::World;

async fn with_service_owning_7() -> World {
    let world = World::start().await;
    world.set(&["7"], (Side::Service, Phase::Steady, 5)).await;
    world
}

#[tokio::test]
async fn odd_spellings_of_a_path_reach_the_owner_as_they_are() {
    let world = with_service_owning_7().await;
    for target in [
        "/api/notifications/",
        "//api//notifications",
        "/api/./notifications",
        "/api/x/../notifications",
        "/api/%2e/notifications",
        "/api/x/%2E%2E/notifications",
        "/api%2Fnotifications",
        "/api%2fnotifications",
        "/%61pi/notifications",
        "/api/%6Eotifications",
        "/api;v=1/notifications;w=2",
        "/api%5Cnotifications",
        "/index.php/api/notifications",
        "/index.php//api/notifications",
        "/INDEX.php/api/notifications?x=/y",
        "/x/../index.php/api/notifications",
    ] {
        let answer = raw(world.gateway, get(target).as_bytes(), "service").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("service"), "{target}: {answer}");
        assert_eq!(world.service.last().target, target);
    }
    for target in
        ["/API/notifications", "/api/notifications%252F", "/api/notification", "/api/notifications/3/x/y"]
    {
        let answer = raw(world.gateway, get(target).as_bytes(), "monolith").await;
        assert!(answer.ends_with("monolith"), "{target}: {answer}");
    }
    let absolute =
        get("http://Shop.Example/api/notifications").replace("Host: shop.example", "Host: SHOP.example");
    assert!(raw(world.gateway, absolute.as_bytes(), "service").await.ends_with("service"));
    let seen = world.service.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/api/notifications", Some("SHOP.example")));
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nCookie: shop_session=7\r\n\r\n")
}

#[tokio::test]
async fn the_method_is_the_one_that_laravel_takes() {
    let world = with_service_owning_7().await;
    let post = |target: &str| Ask::of_user("POST", target, "7").csrf();
    let delete = "/api/notifications/3";
    let table = [
        (post(delete).form("_method=DELETE"), Some("DELETE")),
        (post(delete).form("_method=delete"), Some("DELETE")),
        (post(delete).body("application/json", r#"{"_method":"DELETE"}"#), Some("DELETE")),
        (post("/api/notifications/3?_method=DELETE"), Some("DELETE")),
        (post("/api/notifications/3?_method=DELETE").form("_method=PATCH"), None),
        (post(delete).header("x-http-method-override", "DELETE"), Some("DELETE")),
        (post(delete).header("x-http-method-override", "PATCH").form("_method=DELETE"), None),
        (post(delete), None),
        (post("/api/notifications").form("_method=GET"), Some("GET")),
        (post("/api/notifications").form("_method=HEAD"), Some("HEAD")),
        (post("/api/notifications").form("title=x"), Some("POST")),
        (post("/api/notifications").form("_method=DELETE"), None),
        (post("/api/notifications").form("_method=%00"), Some("POST")),
        // Only a POST is overridden.
        (Ask::of_user("GET", "/api/notifications/3?_method=DELETE", "7"), None),
        (post("/notifications").form("_method=GET"), None),
    ];
    for (ask, wanted) in table {
        let before = world.service.seen().len();
        let answer = world.ask(ask.clone()).await;
        assert_eq!(answer.code(), 200, "{ask:?}");
        let by_service = world.service.seen().get(before).map(|seen| seen.method.to_string());
        assert_eq!(by_service.as_deref(), wanted, "{ask:?}");
        if wanted.is_some() {
            assert_eq!(world.service.last().header("x-http-method-override"), None);
        } else {
            assert_eq!(answer.text(), "monolith");
        }
    }
    let twice =
        post(delete).header("x-http-method-override", "DELETE").header("x-http-method-override", "GET");
    assert_eq!(world.ask(twice).await.problem(), "ambiguous_request");
}
