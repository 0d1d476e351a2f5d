//! The routes: who may ask, what is refused, leases, audit, metrics.

use crate::world::{World, path, until};
use banyan_core::protocol::lease::{LeaseGrant, LeaseKind, LeaseRequest};
use banyan_core::protocol::migration::{AuditRecord, MigrationStatus, MoveRequest};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock;
use banyan_runtime::secrets::RoleToken;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

fn lease(holder: &str, seen_version: u64, wait_ms: u64) -> LeaseRequest {
    let kind = LeaseKind::Service { capability: "notifications".into() };
    LeaseRequest {
        holder: holder.into(),
        kind,
        seen_version,
        undrained: BTreeMap::new(),
        wait_ms,
        answers: BTreeMap::new(),
        degraded: BTreeMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_the_role_token_is_refused() {
    let world = World::start().await;
    let stranger = RoleClient::new(world.control.base_url(), RoleToken::new("wrong"));
    let refused = |outcome: Result<Value, CallError>| outcome.unwrap_err().is_refused("role_token");
    for read in ["/v1/migrations", "/v1/audit", "/v1/audit/verify", "/v1/handovers?capability=notifications"]
    {
        assert!(refused(stranger.get(read).await), "{read}");
    }
    assert!(refused(stranger.post("/v1/leases", &lease("s", 0, 0)).await));
    assert!(refused(stranger.post(&path("/advance"), &MoveRequest::default()).await));
    assert_eq!(world.status().await.wanted_percent, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_by_name() {
    let world = World::start().await;
    let code = |outcome: Result<MigrationStatus, CallError>| match outcome {
        Err(CallError::Refused { status, code, .. }) => (status, code),
        other => panic!("{other:?}"),
    };
    world.go("advance", 10.0).await;
    let wish = MoveRequest { by: "x".repeat(300), ..MoveRequest::default() };
    let unknown = world.control.post("/v1/migrations/other/advance", &MoveRequest::default()).await;
    assert_eq!(code(unknown), (404, "unknown_capability".into()));
    assert_eq!(code(world.ask("retreat", None).await), (404, "unknown_action".into()));
    assert_eq!(code(world.ask("advance", Some(5.0)).await), (409, "wrong_direction".into()));
    assert_eq!(code(world.ask("rollback", Some(50.0)).await), (409, "wrong_direction".into()));
    assert_eq!(code(world.ask("advance", Some(100.1)).await), (400, "percent_out_of_range".into()));
    assert_eq!(code(world.control.post(&path("/advance"), &wish).await), (400, "malformed_request".into()));
    assert_eq!(code(world.control.get("/v1/handovers").await), (400, "malformed_request".into()));
    assert_eq!(
        code(world.control.post("/v1/leases", &lease("", 0, 0)).await),
        (400, "malformed_request".into())
    );
    let all: Vec<MigrationStatus> = world.control.get("/v1/migrations").await.unwrap();
    assert_eq!((all.len(), all[0].wanted_percent, all[0].owner.as_str()), (1, 10.0, "team"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_can_wait_for_its_share() {
    let world = World::start().await;
    let wish = |percent, wait_ms| MoveRequest {
        percent: Some(percent),
        by: "ann".into(),
        reason: String::new(),
        wait_ms,
    };
    let status: MigrationStatus = world.control.post(&path("/advance"), &wish(50.0, 9000)).await.unwrap();
    assert_eq!(status.service_buckets.len(), 2048);
    let status: MigrationStatus = world.control.post(&path("/rollback"), &wish(0.0, 0)).await.unwrap();
    assert_eq!((status.service_buckets.len(), status.wanted_percent), (2048, 0.0));
    world.arrive(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_granted_with_the_table_and_renewed_by_news() {
    let world = World::start().await;
    let renew = async |seen, wait_ms| {
        world.control.post::<_, LeaseGrant>("/v1/leases", &lease("s", seen, wait_ms)).await.unwrap()
    };
    let first = renew(0, 60_000).await;
    assert_eq!((first.lease_ms, first.table.as_ref().map(|t| t.version)), (300, Some(first.version)));
    let start = clock::instant();
    let same = renew(first.version, 60_000).await;
    assert_eq!((same.version, same.table), (first.version, None));
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(95)..Duration::from_secs(2)).contains(&took),
        "a third of a lease: {took:?}"
    );
    let (news, _) = tokio::join!(
        async {
            let mut seen = first.version;
            while seen == first.version {
                seen = renew(seen, 60_000).await.version;
            }
            seen
        },
        world.ask("advance", Some(1.0)),
    );
    assert!(news > first.version);
    world.arrive(1.0).await;
    // A holder that claims to have seen the future gets the present.
    let ahead = renew(news + 1000, 60_000).await;
    assert_eq!(ahead.table.map(|t| t.version), Some(ahead.version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_given_back_keeps_nobody_waiting() {
    let mut config = crate::world::brisk();
    // Of leases of a minute, one that is not given back would keep a handover waiting for long.
    (config.lease_ms, config.ack_ms_max) = (300, 60_000);
    let world = World::start_with(config).await;
    let gateway = LeaseRequest { kind: LeaseKind::Gateway, ..lease("gone/now", 0, 0) };
    let _: LeaseGrant = world.control.post("/v1/leases", &gateway).await.unwrap();
    world.control.delete("/v1/leases/gone%2Fnow").await.unwrap();
    world.control.delete("/v1/leases/never-there").await.unwrap();
    world.go("advance", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_audited_and_a_changed_record_is_noticed() {
    let world = World::start().await;
    world.go("advance", 1.0).await;
    world.ask("pause", None).await.unwrap();
    world.ask("resume", None).await.unwrap();
    world.peers.sides().marks_stuck = true;
    world.ask("advance", Some(10.0)).await.unwrap();
    world.until_status("an attempt is restored", |s| s.aborted > 0).await;
    world.peers.sides().marks_stuck = false;
    world.go("rollback", 0.0).await;
    let records: Vec<AuditRecord> = world.control.get("/v1/audit?after=0").await.unwrap();
    let actions: Vec<&str> = records.iter().map(|r| r.action.as_str()).collect();
    let wanted = [
        "migration.advance",
        "handover.flip",
        "migration.pause",
        "migration.resume",
        "migration.advance",
        "handover.restore",
        "migration.rollback",
    ];
    assert_eq!(actions[..wanted.len()], wanted);
    assert_eq!((records[0].by.as_str(), records[0].reason.as_str()), ("ann", "a test"));
    assert_eq!(records[0].detail, "from 0 % to 1 %");
    assert_eq!(records[1].detail, "owner epoch 2: 41 buckets from monolith to service, 0 left behind");
    let rest: Vec<AuditRecord> = world.control.get("/v1/audit?after=2").await.unwrap();
    assert_eq!(rest[..], records[2..]);
    let verdict: Value = world.control.get("/v1/audit/verify").await.unwrap();
    assert_eq!(verdict["records"], records.len());
    let journal = rusqlite::Connection::open(world.journal()).unwrap();
    journal.execute_batch("DROP TRIGGER audit_is_never_changed").unwrap();
    journal.execute("UPDATE audit SET by = 'nobody' WHERE id = 2", []).unwrap();
    let broken = world.control.get::<Value>("/v1/audit/verify").await.unwrap_err();
    assert!(broken.is_refused("audit_broken") && broken.to_string().contains("record 2"), "{broken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_for_everybody() {
    let world = World::start().await;
    world.go("advance", 1.0).await;
    until("metrics tell of the handover", async || {
        let text = plain(&world, "/metrics").await;
        text.contains("banyan_control_handovers_total") && text.contains("banyan_control_step_seconds")
    })
    .await;
    assert!(plain(&world, "/healthz").await.contains("ok"));
}

/// A request as a monitoring system sends it.
async fn plain(world: &World, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = world.control.base_url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
