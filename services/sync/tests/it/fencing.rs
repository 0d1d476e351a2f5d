//! Setting the fence under a guard; installing, inspecting and removing it.

use crate::world::{CAPABILITY, World, bucket, quick, until};
use banyan_core::BucketSet;
use banyan_core::Turn;
use banyan_core::row::FenceOwner;
use banyan_sync::Config;
use mysql_async::prelude::Queryable as _;
use serde_json::Value;

fn turn(term: u64, attempt: u64, step: u32) -> Turn {
    Turn { term, attempt, step }
}

async fn fences(world: &World) -> Vec<(String, u64, u64)> {
    world.rows("SELECT owner, owner_epoch, COUNT(*) FROM banyan_fence GROUP BY 1, 2 ORDER BY 1, 2").await
}

#[tokio::test]
async fn a_command_whose_turn_is_not_the_newest_changes_nothing() {
    let Some(world) = World::start().await else { return };
    let set = async |buckets, owner, turn| world.try_fence(buckets, owner, turn).await.unwrap().applied;
    assert!(set(bucket(1), FenceOwner::Moving, turn(2, 7, 1)).await);
    let before = fences(&world).await;
    for late in [turn(2, 7, 1), turn(2, 7, 0), turn(2, 6, 9), turn(1, 99, 99)] {
        assert!(!set(bucket(1), FenceOwner::Service, late).await, "{late:?}");
        // All or nothing: bucket 1 alone holds the others back.
        assert!(!set(BucketSet::all(), FenceOwner::Service, late).await, "{late:?}");
    }
    assert_eq!(fences(&world).await, before);
    let raised = "SELECT COUNT(*) FROM banyan_guard WHERE term > 0";
    assert_eq!(world.number(raised).await, 1, "a refused command leaves no guard raised");
    assert!(set(bucket(1), FenceOwner::Monolith, turn(2, 7, 2)).await);
    assert!(
        set(bucket(1), FenceOwner::Moving, turn(3, 1, 0)).await,
        "a new term counts more than an attempt"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_fence_row_that_a_writer_holds_is_waited_for_and_then_named() {
    let Some(mut world) = World::build().await else { return };
    world.start_sync(Config { fence_wait_ms_max: 100, ..quick() }).await;
    world.install().await;
    let mut writer = world.connect().await;
    writer.query_drop("START TRANSACTION").await.unwrap();
    writer.query_drop("INSERT INTO notifications (user_id, title) VALUES (1, 'open')").await.unwrap();
    let locked = world.try_fence(BucketSet::all(), FenceOwner::Moving, turn(1, 7, 1)).await.unwrap_err();
    assert!(locked.is_refused("fence_locked"), "{locked}");
    assert!(locked.to_string().contains(&format!("connection {} of root", writer.id())), "{locked}");
    assert_eq!(world.number("SELECT COUNT(*) FROM banyan_guard WHERE term > 0").await, 0);
    let others = BucketSet::all().difference(&bucket(1));
    assert!(world.try_fence(others, FenceOwner::Moving, turn(1, 7, 1)).await.unwrap().applied);
    // Once the writer has ended, the same command passes.
    let (set, _) = tokio::join!(
        async {
            until("the fence is set", async || {
                world.try_fence(bucket(1), FenceOwner::Moving, turn(1, 7, 1)).await.is_ok()
            })
            .await
        },
        writer.query_drop("COMMIT")
    );
    assert_eq!(set, ());
    assert_eq!(fences(&world).await, [("moving".into(), 7, 4096)]);
    world.stop().await;
}

#[tokio::test]
async fn installing_again_mends_objects_and_resets_no_row() {
    let Some(world) = World::start_alone().await else { return };
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    world.sql("DELETE FROM banyan_gate WHERE bucket = 5").await;
    world.sql("DROP TRIGGER banyan_notifications_insert").await;
    world.sql("CREATE OR REPLACE TRIGGER banyan_notifications_delete BEFORE DELETE ON notifications FOR EACH ROW SET @x = 1").await;
    let states = async || {
        let fence: Value = world.sync.get(&format!("/v1/fence?capability={CAPABILITY}")).await.unwrap();
        let odd = fence["objects"].as_array().unwrap().iter().filter(|o| o["state"] != "in place");
        odd.map(|o| {
            format!(
                "{} {} {}",
                o["kind"].as_str().unwrap(),
                o["name"].as_str().unwrap(),
                o["state"].as_str().unwrap()
            )
        })
        .collect::<Vec<_>>()
    };
    let wanted = [
        "rows banyan_gate of notifications differs",
        "trigger banyan_notifications_insert missing",
        "trigger banyan_notifications_delete differs",
    ];
    assert_eq!(states().await, wanted);
    assert!(!world.status().await.fence_installed);
    world.install().await;
    assert_eq!(states().await, Vec::<String>::new());
    assert!(world.status().await.fence_installed);
    assert_eq!(fences(&world).await, [("monolith".into(), 1, 4095), ("service".into(), 7, 1)]);
    let trusted = world.number("SELECT @@GLOBAL.log_bin_trust_function_creators").await;
    assert_eq!(trusted, 0, "what was set for the moment is set back");
    world.stop().await;
}

#[tokio::test]
async fn the_fence_is_not_removed_while_the_service_owns_a_bucket() {
    let Some(world) = World::start().await else { return };
    for owner in [FenceOwner::Service, FenceOwner::Moving] {
        assert!(world.fence(bucket(1), owner, 7).await);
        let refused = world.sync.post::<_, Value>("/v1/fence/remove", &world.of()).await.unwrap_err();
        assert!(refused.is_refused("service_owns"), "{refused}");
    }
    let triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
    assert_eq!(world.number(triggers).await, 9);
    assert!(world.fence(bucket(1), FenceOwner::Monolith, 8).await);
    let removed: Value = world.sync.post("/v1/fence/remove", &world.of()).await.unwrap();
    assert!(removed["objects"].as_array().unwrap().iter().any(|o| o["state"] == "missing"));
    assert_eq!(world.number(triggers).await, 0);
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'free')").await;
    let not_there = world.try_fence(bucket(1), FenceOwner::Moving, turn(9, 9, 9)).await.unwrap_err();
    assert!(not_there.is_refused("fence_not_installed"), "{not_there}");
    // A command that was late before is late after another installation, too.
    world.install().await;
    assert!(!world.try_fence(bucket(1), FenceOwner::Moving, turn(1, 7, 0)).await.unwrap().applied);
    world.stop().await;
}
