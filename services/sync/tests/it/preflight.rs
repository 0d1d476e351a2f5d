//! `banyan check` finds what is wrong, and its own statements mend it.

use crate::server::{Server, number};
use crate::world::{World, capability, notifications};
use banyan_sync::preflight::{Finding, Level, preflight};
use serde_json::json;

fn mend(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|f| f.level == Level::Mend).collect()
}

#[tokio::test]
async fn a_proper_database_needs_nothing() {
    let Some(world) = World::build().await else { return };
    let findings = preflight(&world.banyan_url(), &[notifications()]).await.unwrap();
    assert_eq!(mend(&findings), Vec::<&Finding>::new());
    assert!(findings.iter().all(|f| f.level == Level::Ok), "{findings:?}");
    world.stop().await;
}

#[tokio::test]
async fn the_cures_mend_what_they_are_for() {
    let Some(server) = Server::own() else { return };
    let tables = "
        CREATE TABLE users (id bigint unsigned AUTO_INCREMENT PRIMARY KEY);
        CREATE TABLE n (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned NOT NULL) ENGINE=MyISAM;
        CREATE TABLE p (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned NOT NULL, t varchar(55) NOT NULL,
          CONSTRAINT p_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
        CREATE TRIGGER legacy AFTER INSERT ON p FOR EACH ROW SET @a = 1;
        SET GLOBAL binlog_format = 'MIXED', GLOBAL sync_binlog = 0, GLOBAL binlog_row_image = 'MINIMAL',
          GLOBAL binlog_row_metadata = 'MINIMAL', GLOBAL innodb_lock_wait_timeout = 5;";
    let declared = capability(&json!([
        {"name": "n", "key": "id", "subject": "user_id"}, {"name": "p", "key": "id", "subject": "user_id", "trace_column": "t"},
    ]));
    let world = World::build_on(server, tables, declared.clone()).await;
    let user = format!("poor{}", number());
    world.server.with(|m| m.create_user(&user, "x", &[("SELECT", "*.*")])).unwrap();
    let url = world.server.with(|m| m.url(&user, "x", &world.schema));
    // In two rounds: only with the rights come triggers and foreign keys into sight.
    let mut findings = Vec::new();
    for _ in 0..2 {
        let found = preflight(&url, std::slice::from_ref(&declared)).await.unwrap();
        for cure in found.iter().filter(|f| f.level != Level::Ok).filter_map(|f| f.cure.as_deref()) {
            world.server.with(|m| m.sql(&world.schema, cure)).unwrap();
        }
        findings.extend(found);
    }
    let of = |level| {
        findings.iter().filter(move |f| f.level == level).map(|f| f.what.as_str()).collect::<String>()
    };
    for (level, words) in [
        (Level::Mend, "binlog_format is MIXED"),
        (Level::Mend, "sync_binlog is 0"),
        (Level::Mend, "binlog_row_image is MINIMAL"),
        (Level::Mend, "lacks REPLICATION SLAVE, BINLOG MONITOR, PROCESS, BINLOG ADMIN"),
        (Level::Mend, "lacks INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER on"),
        (Level::Mend, "stored by MyISAM"),
        (Level::Mend, "foreign key `p_user` of `p` cascades"),
        (Level::Mend, "trigger `legacy` on `p`"),
        (Level::Mend, "no `p`.`t`: it must have a default"),
        (Level::Warn, "binlog_row_metadata is MINIMAL"),
        (Level::Warn, "innodb_lock_wait_timeout is 5"),
        (Level::Warn, "`n`.`user_id` has no index"),
    ] {
        assert!(of(level).contains(words), "{words}: {}", of(level));
    }
    let mended = preflight(&url, &[declared]).await.unwrap();
    assert!(mended.iter().all(|f| f.level == Level::Ok), "{mended:#?}");
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_or_a_table_that_is_not_there_is_a_finding() {
    let Some(world) = World::build().await else { return };
    let stranger = world.server.with(|m| m.url("nobody", "x", &world.schema));
    let findings = preflight(&stranger, &[notifications()]).await.unwrap();
    let cure = mend(&findings)[0].cure.clone().unwrap();
    assert!(cure.contains("CREATE USER 'nobody'") && cure.contains("GRANT REPLICATION SLAVE"), "{cure}");
    let odd = capability(&json!([
        {"name": "nothing", "key": "id", "subject": "user_id"}, {"name": "sessions", "key": "id", "subject": "id"},
        {"name": "users", "key": "id", "subject": "owner"}, {"name": "notification_preferences", "key": "user_id", "subject": "user_id", "leases_ids": true},
    ]));
    let findings = preflight(&world.banyan_url(), &[odd]).await.unwrap();
    let whats: Vec<&str> = mend(&findings).iter().map(|f| f.what.as_str()).collect();
    let wanted = [
        "table `nothing` does not exist",
        "the key `sessions`.`id` is not an integer",
        "table `users` has no column `owner`",
        "the service cannot lease ids of `notification_preferences`",
    ];
    assert_eq!(whats, wanted);
    assert!(preflight("mysql://127.0.0.1/shop", &[]).await.is_err());
    world.stop().await;
}
