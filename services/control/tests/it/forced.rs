//! Going back without the service, and admitting it again.

use crate::world::{World, path, until};
use banyan_core::protocol::exposure::{AnsweredWrite, Answers, ExposureSource};
use banyan_core::protocol::lease::{LeaseGrant, LeaseKind, LeaseRequest};
use banyan_core::protocol::migration::{AuditRecord, MigrationStatus, MoveRequest};
use banyan_runtime::client::CallError;

async fn lease(world: &World) -> Result<LeaseGrant, CallError> {
    let request = LeaseRequest {
        holder: "service".into(),
        kind: LeaseKind::Service { capability: "notifications".into() },
        seen_version: 0,
        undrained: Default::default(),
        wait_ms: 0,
        answers: Default::default(),
        degraded: Default::default(),
    };
    world.control.post("/v1/leases", &request).await
}

async fn is_barred(world: &World) -> bool {
    matches!(lease(world).await, Err(CallError::Refused { code, .. }) if code == "service_given_up")
}

async fn force(world: &World, reason: &str) -> Result<MigrationStatus, CallError> {
    let request = MoveRequest { percent: None, by: "ann".into(), reason: reason.into(), wait_ms: 0 };
    world.control.post(&path("/force"), &request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_service_takes_what_is_printed_and_gets_no_lease_until_it_is_admitted() {
    let mut world = World::start().await;
    let moved = world.go("advance", 10.0).await.service_buckets;
    lease(&world).await.unwrap();
    let bucket = moved.iter().next().unwrap();
    let write = |position: u64, incarnation: &str| AnsweredWrite {
        bucket,
        route: "POST /a".into(),
        at_ms: 1,
        reference: Some(format!("{incarnation}{position}")),
        incarnation: incarnation.into(),
        position,
    };
    // The monolith holds what stands up to position 4 of the outbox `i`.
    let listed = vec![write(3, "i"), write(5, "i"), write(1, "j")];
    world.gateways[0].set_answers(Answers { listed, more: vec![(bucket, 2)] });
    assert!(force(&world, " ").await.is_err(), "a reason is needed");
    world.peers.sides().unhealthy.unleased = true;
    force(&world, "it is gone").await.unwrap();
    assert!(is_barred(&world).await);
    for other in ["pause", "resume"] {
        world.ask(other, None).await.unwrap();
        assert!(is_barred(&world).await, "{other}");
    }
    world.kill_control();
    world.start_control().await;
    assert!(is_barred(&world).await, "a restart forgets nothing");

    world.until_status("everything is back", |s| s.percent == 0.0 && s.stragglers.is_empty()).await;
    world.until_status("it has ended", |s| s.handover.as_ref().is_some_and(|h| h.exposure.is_some())).await;
    let exposure = world.status().await.cut.unwrap().exposure;
    let listed: Vec<_> = exposure.writes.iter().filter_map(|write| write.reference.as_deref()).collect();
    assert_eq!((listed, exposure.total().writes), (vec!["i5", "j1"], 4));
    assert_eq!(exposure.source, ExposureSource::Gateways);
    assert!(is_barred(&world).await, "it is not admitted yet");
    let audit: Vec<AuditRecord> = world.control.get("/v1/audit").await.unwrap();
    let flip = audit.iter().rfind(|record| record.action == "handover.flip").unwrap();
    assert!(flip.detail.contains("exposed: 4 writes") && flip.detail.contains("\"j1\""), "{}", flip.detail);

    world.peers.sides().mismatches = 3;
    world.ask("advance", Some(10.0)).await.unwrap();
    world.until_status("rows differ", |s| s.waiting_for.join(" ").contains("3 rows of the service")).await;
    assert!(is_barred(&world).await, "rows differ");
    world.peers.sides().mismatches = 0;
    until("it is admitted", async || lease(&world).await.is_ok()).await;
    assert_eq!(world.peers.sides().open(bucket), None, "the service was closed before");
    world.peers.sides().unhealthy.unleased = false;
    let status = world.arrive(10.0).await;
    assert_eq!((status.cut, status.service_buckets), (None, moved));
}
