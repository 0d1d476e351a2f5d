//! Where requests of a capability go, and what goes with them.

use banyan_core::{Phase, Side};

use crate::client::Ask;
use crate::world::{World, until};

async fn with_service_owning(subjects: &[&str]) -> World {
    let world = World::start().await;
    world.set(subjects, (Side::Service, Phase::Steady, 5)).await;
    world
}

#[tokio::test]
async fn everything_passes_to_the_monolith_untouched_before_the_first_handover() {
    let world = World::start().await;
    let answer = world
        .ask(Ask::of_user("POST", "/api/notifications?a=b%20c", "7").body("application/json", "{}"))
        .await;
    assert_eq!((answer.code(), answer.text()), (200, "monolith".into()));
    let seen = world.monolith.last();
    assert_eq!((seen.target.as_str(), &seen.body[..]), ("/api/notifications?a=b%20c", &b"{}"[..]));
    assert_eq!(seen.header("cookie"), Some("shop_session=7"));
    assert_eq!(
        (seen.header("host"), seen.header("x-forwarded-for")),
        (Some("shop.example"), Some("127.0.0.1"))
    );
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("banyan-")), "{seen:?}");
    assert_eq!(world.ask(Ask::new("GET", "/nowhere")).await.text(), "monolith");
}

#[tokio::test]
async fn the_owner_of_the_users_bucket_answers() {
    let world = with_service_owning(&["7"]).await;
    let read = world.ask(Ask::of_user("GET", "/api/notifications", "7")).await;
    assert_eq!(read.text(), "service");
    assert_eq!(world.ask(Ask::of_user("HEAD", "/api/notifications", "7")).await.code(), 200);
    assert_eq!(world.ask(Ask::of_user("GET", "/api/notifications", "8")).await.text(), "monolith");
    // Pages stay with the monolith, and so do guests.
    assert_eq!(world.ask(Ask::of_user("GET", "/notifications", "7")).await.text(), "monolith");
    assert_eq!(world.ask(Ask::new("GET", "/api/notifications")).await.text(), "monolith");
    assert_eq!(world.ask(Ask::of_user("GET", "/api/notifications", "nobody")).await.text(), "monolith");
    let write = world.ask(Ask::of_user("DELETE", "/api/notifications/3?x=1", "7").csrf()).await;
    assert_eq!(write.text(), "service");
    let seen = world.service.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("DELETE", "/api/notifications/3?x=1"));
    assert_eq!(seen.header("banyan-role-token"), Some("secret of the roles"));
    assert_eq!(seen.header("banyan-identity"), Some("jwt-of-7-for-notifications"));
    assert_eq!((seen.header("banyan-subject"), seen.header("banyan-owner-epoch")), (Some("7"), Some("5")));
    let read = world.service.seen().into_iter().find(|s| s.method == "GET").unwrap();
    assert_eq!((read.header("banyan-subject"), read.header("banyan-owner-epoch")), (Some("7"), None));
}

#[tokio::test]
async fn a_client_cannot_speak_as_the_gateway_nor_hear_what_is_banyans() {
    let world = with_service_owning(&["7"]).await;
    world.service.script(200, &[("banyan-position", "12"), ("x-mine", "1"), ("set-cookie", "a=b")], "done");
    let forged = Ask::of_user("DELETE", "/api/notifications/3", "7")
        .csrf()
        .header("banyan-identity", "forged")
        .header("banyan-subject", "8")
        .header("BANYAN-OWNER-EPOCH", "99")
        .header("banyan_subject", "8")
        .header("x-forwarded-for", "1.2.3.4")
        .header("connection", "banyan-role-token, cookie2");
    let answer = world.ask(forged.clone()).await;
    assert_eq!(answer.text(), "done");
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("banyan-")), "{answer:?}");
    assert_eq!(
        (answer.headers["x-mine"].as_bytes(), answer.headers["set-cookie"].as_bytes()),
        (&b"1"[..], &b"a=b"[..])
    );
    let seen = world.service.last();
    for (name, wanted) in [
        ("banyan-identity", "jwt-of-7-for-notifications"),
        ("banyan-subject", "7"),
        ("banyan-owner-epoch", "5"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        let values: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(values, [wanted], "{name}");
    }
    assert_eq!(seen.header("banyan_subject"), None);
    world.set(&["7"], (Side::Monolith, Phase::Steady, 6)).await;
    world.ask(forged).await;
    assert!(world.monolith.last().headers.keys().all(|name| !name.as_str().starts_with("banyan")));
}

#[tokio::test]
async fn a_write_for_the_service_needs_the_token_against_forgery() {
    let world = with_service_owning(&["7"]).await;
    let write = || Ask::of_user("POST", "/notifications/3/read", "7");
    let json = |ask: Ask| ask.header("accept", "application/json");
    let table = [
        (write(), 419),
        (write().form("_token=bad"), 419),
        (write().form("_token=bad").csrf(), 419),
        (write().header("x-csrf-token", "bad"), 419),
        (write().csrf(), 200),
        (write().header("x-xsrf-token", "good"), 200),
        (write().form("a=1&_token=good"), 200),
        (write().body("application/json", r#"{"_token":"good"}"#), 200),
        (Ask::of_user("POST", "/notifications/3/read?_token=good", "7"), 200),
        (
            write().body(
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"_token\"\r\n\r\ngood\r\n--b--\r\n",
            ),
            200,
        ),
    ];
    for (ask, wanted) in table {
        let answer = world.ask(ask.clone()).await;
        assert_eq!(answer.code(), wanted, "{ask:?}");
    }
    let answer = world.ask(json(write())).await;
    assert_eq!(answer.text(), "{\"message\":\"CSRF token mismatch.\"}");
    let page = world.ask(write().header("accept", "text/html")).await;
    assert!(
        page.text().contains("Page Expired")
            && page.headers["content-type"].to_str().unwrap().contains("html")
    );
    // A refused write does not stay in flight, and the monolith checks its own.
    let version = world.set(&["7"], (Side::Service, Phase::Moving, 5)).await;
    assert!(world.control.is_acknowledged(version, &[]));
    assert_eq!(world.ask(Ask::of_user("POST", "/notifications/3/read", "8")).await.text(), "monolith");
    assert_eq!(world.service.seen().len(), 6);
}

#[tokio::test]
async fn the_body_reaches_the_owner_after_it_was_read() {
    let world = with_service_owning(&["7"]).await;
    let form = format!("_token=good&title={}", "x".repeat(100_000));
    world.ask(Ask::of_user("POST", "/api/notifications", "7").form(&form)).await;
    assert_eq!(world.service.last().body, form.as_bytes());
    world.ask(Ask::of_user("POST", "/api/notifications", "8").form(&form)).await;
    assert_eq!(world.monolith.last().body, form.as_bytes());
    let too_long = format!("_token=good&title={}", "x".repeat(300_000));
    let answer = world.ask(Ask::of_user("POST", "/api/notifications", "7").form(&too_long)).await;
    assert_eq!((answer.code(), answer.problem().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn subjects_are_found_where_the_route_says() {
    let world = with_service_owning(&["7"]).await;
    let unsubscribe = |email: &str| Ask::new("POST", "/unsubscribe").form(&format!("email={email}&token=t"));
    let table = [
        (unsubscribe("u7%40x"), "service"),
        (unsubscribe("u8%40x"), "monolith"),
        (unsubscribe("unknown"), "monolith"),
        (unsubscribe(""), "monolith"),
        (Ask::new("POST", "/unsubscribe?email=u7%40x"), "service"),
        (Ask::new("PUT", "/api/users/7/preferences"), "service"),
        (Ask::new("PUT", "/api/users/007/preferences"), "service"),
        (Ask::new("PUT", "/api/users/%37/preferences"), "service"),
        (Ask::new("PUT", "/api/users/8/preferences"), "monolith"),
        (Ask::new("PUT", "/api/users/seven/preferences"), "monolith"),
        (Ask::new("POST", "/hooks").body("application/json", r#"{"user_id":7}"#), "service"),
        (Ask::new("POST", "/hooks").form("user_id=8"), "monolith"),
        (Ask::new("GET", "/by-query?u=7"), "service"),
        (Ask::new("GET", "/by-query?u=0"), "monolith"),
        (Ask::new("GET", "/by-query"), "monolith"),
        (Ask::new("GET", "/by-header").header("x-user", "7"), "service"),
        (Ask::new("GET", "/by-header"), "monolith"),
    ];
    for (ask, wanted) in table {
        assert_eq!(world.ask(ask.clone()).await.text(), wanted, "{ask:?}");
    }
    let seen = world.service.seen();
    let lookups = seen.iter().filter(|s| s.target.starts_with("/unsubscribe"));
    for seen in lookups {
        assert_eq!((seen.header("banyan-subject"), seen.header("banyan-identity")), (Some("7"), None));
    }
}

#[tokio::test]
async fn without_auth_only_requests_of_a_capability_fail() {
    let world = World::start().await;
    world.auth.set_down(true);
    for ask in [
        Ask::of_user("GET", "/api/notifications", "7"),
        Ask::of_user("DELETE", "/api/notifications/3", "7").csrf(),
        Ask::new("POST", "/unsubscribe").form("email=u7%40x"),
    ] {
        let answer = world.ask(ask.clone()).await;
        assert_eq!((answer.code(), answer.problem().as_str()), (503, "identity_unavailable"), "{ask:?}");
    }
    for path in ["/notifications", "/payments", "/"] {
        assert_eq!(world.ask(Ask::of_user("GET", path, "7")).await.text(), "monolith");
    }
    // Who has no session is nobody, and no question.
    assert_eq!(
        world.ask(Ask::new("GET", "/api/notifications").header("cookie", "a=b")).await.text(),
        "monolith"
    );
    assert!(world.monolith.seen().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn reads_share_an_answer_of_auth_and_writes_never_do() {
    let world = World::start_with(|config| config.workers = 1).await;
    world.auth.set_cache_ms(1000);
    for _ in 0..5 {
        world.ask(Ask::of_user("GET", "/api/notifications", "7")).await;
    }
    assert_eq!(world.auth.asked().len(), 1);
    let write = || Ask::of_user("DELETE", "/api/notifications/3", "7").csrf();
    world.ask(write()).await;
    world.ask(write()).await;
    assert_eq!(world.auth.asked().len(), 3);
    // Longer than a second is never kept.
    world.auth.set_cache_ms(3_600_000);
    world.ask(Ask::of_user("GET", "/api/notifications", "8")).await;
    let before = world.auth.asked().len();
    until("the answer is asked for again", async || {
        world.ask(Ask::of_user("GET", "/api/notifications", "8")).await;
        world.auth.asked().len() > before
    })
    .await;
}

#[tokio::test]
async fn a_write_that_the_service_refuses_as_not_its_own_waits_for_the_next_table() {
    let world = with_service_owning(&["7"]).await;
    let refusal = r#"{"status":409,"code":"not_owner","detail":"x"}"#;
    let kind = [("content-type", "application/problem+json")];
    world.service.script(409, &kind, refusal);
    let write = Ask::of_user("POST", "/api/notifications", "7").form("_token=good&title=t");
    let waiting = write.clone().start(world.gateway);
    until("the service has refused it", async || world.service.seen().len() == 1).await;
    until("it is held", async || world.holds().await["held"] == 1).await;
    world.set(&["7"], (Side::Monolith, Phase::Steady, 6)).await;
    assert_eq!(waiting.await.unwrap().text(), "monolith");
    assert_eq!(world.monolith.last().body, &b"_token=good&title=t"[..]);
    // A second refusal is told.
    world.set(&["7"], (Side::Service, Phase::Steady, 7)).await;
    world.service.script(409, &kind, refusal);
    world.service.script(409, &kind, refusal);
    let waiting = write.start(world.gateway);
    until("the service has refused it again", async || world.service.seen().len() == 2).await;
    world.set(&["7"], (Side::Service, Phase::Steady, 8)).await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.code(), answer.problem().as_str()), (503, "not_owner"));
    // Any other conflict is an answer.
    world.service.script(409, &kind, r#"{"code":"other"}"#);
    let answer = world.ask(Ask::of_user("DELETE", "/api/notifications/3", "7").csrf()).await;
    assert_eq!((answer.code(), answer.text()), (409, r#"{"code":"other"}"#.into()));
}
