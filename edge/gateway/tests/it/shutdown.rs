//! The end of a gateway, and what keeps it from beginning.

use banyan_gateway::{Config, Deps, StartError};
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Tasks;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Ask, Connection};
use crate::world::{World, until};

#[tokio::test]
async fn what_is_in_flight_is_answered_and_the_lease_is_given_back_afterwards() {
    let world = World::start().await;
    let mut idle = Connection::open(world.gateway).await;
    assert_eq!(idle.send(Ask::new("GET", "/")).await.code(), 200);
    let slow = Ask::of_user("POST", "/notifications/3/hang", "7").csrf().start(world.gateway);
    until("it has been sent", async || world.monolith.seen().len() == 2).await;
    world.tasks.request_shutdown();
    until("nobody listens", async || TcpStream::connect(world.gateway).await.is_err()).await;
    let renewals = world.control.reports().len();
    until("the lease is still kept", async || world.control.reports().len() > renewals).await;
    assert!(world.control.given_back().is_empty() && !slow.is_finished());
    world.monolith.open_gate(true);
    assert_eq!(slow.await.unwrap().code(), 200);
    until("the lease is given back", async || world.control.given_back().len() == 1).await;
    let holder = world.control.reports()[0].holder.clone();
    assert_eq!(world.control.given_back(), [holder]);
    world.tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(world.tasks.failure(), None);
}

#[tokio::test]
async fn a_gateway_that_does_not_finish_is_dropped_at_the_deadline() {
    let world = World::start().await;
    let stuck = Ask::new("GET", "/hang").start(world.gateway);
    until("it has been sent", async || world.monolith.seen().len() == 1).await;
    world.tasks.stop(Duration::from_millis(50)).await;
    assert!(stuck.await.is_err(), "the connection is closed without an answer");
    until("nobody listens", async || TcpStream::connect(world.gateway).await.is_err()).await;
}

#[tokio::test]
async fn what_cannot_work_fails_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::start().await;
    let token = RoleToken::new("t");
    let role = RoleClient::new("http://127.0.0.1:1", token.clone());
    let data = tempfile::tempdir().unwrap();
    let deps = Deps {
        listen: taken.local_addr().unwrap(),
        monolith_url: "http://127.0.0.1:1".into(),
        session_cookie: "s".into(),
        capabilities: Arc::new([]),
        auth: role.clone(),
        control: role,
        sync: RoleClient::new("http://127.0.0.1:9", token.clone()),
        data_dir: data.path().into(),
        tasks: Tasks::new(),
        token,
    };
    let fault = async |config: Config, deps: Deps| match banyan_gateway::start(config, deps).await {
        Err(fault) => fault,
        Ok(_) => panic!("it started"),
    };
    let default = Config::default;
    assert!(matches!(fault(default(), deps.clone()).await, StartError::Listen(..)));
    // A gateway shares its port among its workers, but with nobody else.
    let shared = Deps { listen: world.gateway, ..deps.clone() };
    assert!(matches!(fault(default(), shared).await, StartError::Listen(..)));
    let wrong = Deps { monolith_url: "https://shop".into(), ..deps.clone() };
    assert!(matches!(fault(default(), wrong).await, StartError::Monolith(_)));
    let wrong = Config { headers_max: 0, ..default() };
    assert!(fault(wrong, deps).await.to_string().contains("`headers_max` 0"));
}
