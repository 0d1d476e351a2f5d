//! auth and the genuine monolith must agree, request by request, on who is logged in and what passes.

use crate::world::{Carriers, World};
use banyan_core::protocol::identity::Claims;
use banyan_runtime::clock;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

/// Asks both; returns what they agree on: the user's id, or none.
async fn agreed(world: &World, cookies: &str) -> Option<String> {
    let identity = world.identity(cookies, None).await;
    let known = world.monolith_knows(cookies).await;
    assert_eq!(identity.user.is_some(), known, "auth and the monolith differ on `{cookies}`");
    identity.user.map(|user| user.subject)
}

#[tokio::test]
async fn they_agree_on_who_is_logged_in() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    assert_eq!(agreed(&world, "").await, None);
    browser.get("/login").await;
    assert_eq!(agreed(&world, &browser.cookies()).await, None, "a guest");
    let user = world.user_id("user3@example.com").await;
    browser.login("user3@example.com").await;
    let cookies = browser.cookies();
    assert_eq!(agreed(&world, &cookies).await.as_ref(), Some(&user));

    let value = browser.cookie(world.session_cookie());
    let name = world.session_cookie();
    let tampered =
        format!("{}{}", &value[..60], if &value[60..61] == "A" { "B" } else { "A" }) + &value[61..];
    let guests = [
        format!("{name}={tampered}"),
        format!("{name}={}", &value[..value.len() / 2]),
        format!("{name}="),
        name.to_owned(),
        format!("{name}=x; {name}={value}"),
        format!("{name}={}", browser.cookie("XSRF-TOKEN")),
        format!("XSRF-TOKEN={value}"),
        format!("{name}={}", "a".repeat(40)),
        format!("{}={value}", name.to_uppercase()),
    ];
    for cookies in guests {
        assert_eq!(agreed(&world, &cookies).await, None, "{cookies}");
    }
    let users = [
        format!("{name}={value}"),
        format!("other=1; {name}={value}; {name}=x"),
        format!("other;{name}={value}"),
        format!("{}={value}", name.replace('_', ".")),
        format!("{name}={}", value.replace("%3D", "=")),
        format!("{name}={}", value.replace("%3D", "")),
    ];
    for cookies in users {
        assert_eq!(agreed(&world, &cookies).await.as_ref(), Some(&user), "{cookies}");
    }
}

#[tokio::test]
async fn they_agree_when_a_user_or_a_session_ends() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user1@example.com").await;
    let cookies = browser.cookies();
    assert!(agreed(&world, &cookies).await.is_some());
    world.sql("UPDATE users SET deleted_at = NOW() WHERE email = 'user1@example.com'").await;
    assert_eq!(agreed(&world, &cookies).await, None, "a deleted user");
    world.sql("UPDATE users SET deleted_at = NULL WHERE email = 'user1@example.com'").await;
    assert!(agreed(&world, &cookies).await.is_some(), "a restored user");
    // The column is a copy that Laravel never reads: the payload decides.
    world.sql("UPDATE sessions SET user_id = NULL WHERE user_id IS NOT NULL").await;
    let identity = world.identity(&cookies, None).await;
    assert_eq!(identity.user.unwrap().subject, world.user_id("user1@example.com").await);
    world.sql("UPDATE sessions SET last_activity = last_activity - 7300").await;
    let identity = world.identity(&cookies, None).await;
    assert!(identity.user.is_none(), "an expired session");
    assert_eq!(agreed(&world, &cookies).await, None, "the monolith has replaced the expired session");

    let browser = world.browser();
    browser.login("user2@example.com").await;
    let cookies = browser.cookies();
    assert!(agreed(&world, &cookies).await.is_some());
    browser.logout().await;
    assert_eq!(agreed(&world, &cookies).await, None, "the cookie of a session that has ended");
    assert_eq!(agreed(&world, &browser.cookies()).await, None, "the cookie after the logout");
}

#[tokio::test]
async fn they_agree_on_csrf_for_every_combination_of_carriers() {
    let Some(world) = World::start().await else { return };
    let user = world.browser();
    user.login("user4@example.com").await;
    let guest = world.browser();
    guest.get("/login").await;
    for browser in [&user, &guest] {
        let token = browser.csrf_token().await;
        let sealed = browser.cookie("XSRF-TOKEN").replace("%3D", "=");
        let other = browser.cookie(world.session_cookie()).replace("%3D", "=");
        let plain = [None, Some(token.as_str()), Some("wrong"), Some(""), Some("0")];
        let encrypted = [None, Some(sealed.as_str()), Some(other.as_str()), Some(token.as_str())];
        let mut seen = [0, 0];
        for field in plain {
            for header in plain {
                for xsrf in encrypted {
                    let carriers = Carriers { field, header, xsrf };
                    let verdict = world.identity(&browser.cookies(), Some(carriers)).await.csrf_valid;
                    let passed = world.monolith_passes(&browser.cookies(), carriers).await;
                    assert_eq!(verdict, passed, "{carriers:?}");
                    seen[usize::from(passed)] += 1;
                }
            }
        }
        assert!(seen[0] > 10 && seen[1] > 10, "{seen:?}");
    }
    let carriers = Carriers { field: Some("any"), header: None, xsrf: None };
    assert!(!world.identity("", Some(carriers)).await.csrf_valid, "no session has no token");
    assert!(world.identity("", None).await.csrf_valid, "nothing was asked");
}

#[tokio::test]
async fn a_session_with_objects_in_it_is_read() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user6@example.com").await;
    let token = browser.csrf_token().await;
    browser.post("/notifications/reminders", &[("_token", &token), ("title", "")]).await;
    let objects = world
        .numbers("SELECT COUNT(*) FROM sessions WHERE FROM_BASE64(payload) LIKE '%O:%ViewErrorBag%'")
        .await;
    assert_eq!(objects, [1], "the validation errors are flashed as an object");
    let identity = world.identity(&browser.cookies(), None).await;
    assert_eq!(identity.user.unwrap().subject, world.user_id("user6@example.com").await);
}

#[tokio::test]
async fn a_service_can_verify_the_token_of_a_login() {
    let Some(world) = World::start().await else { return };
    let browser = world.browser();
    browser.login("user5@example.com").await;
    let user = world.identity(&browser.cookies(), None).await.user.unwrap();
    assert!(user.cache_ms <= 1000);
    let keys: JwkSet = world.auth.get("/v1/jwks").await.unwrap();
    let kid = decode_header(&user.token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut wanted = Validation::new(Algorithm::EdDSA);
    wanted.set_audience(&["notifications"]);
    let claims = decode::<Claims>(&user.token, &key, &wanted).unwrap().claims;
    assert_eq!(claims.sub, user.subject);
    assert_eq!(claims.exp - claims.iat, 120);
    assert!(claims.iat.abs_diff(clock::unix_ms() / 1000) < 60);
}
