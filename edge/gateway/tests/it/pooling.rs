//! Connections to upstreams: kept, not kept too long, and what happens where one breaks.

use banyan_runtime::tasks::Tasks;

use crate::client::{Ask, Connection};
use crate::peers::{Auth, Control};
use crate::raw_origin::{Closing, RawOrigin};
use crate::world::{Gateway, Stopping, Urls};

async fn start(
    closing: Closing,
    change: impl FnOnce(&mut banyan_gateway::Config),
) -> (RawOrigin, Gateway, Stopping) {
    let tasks = Tasks::new();
    let origin = RawOrigin::start(closing, &tasks).await;
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let change = |config: &mut banyan_gateway::Config| {
        config.workers = 1;
        change(config);
    };
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), change).await;
    (origin, gateway, Stopping(tasks))
}

#[tokio::test]
async fn connections_are_kept_and_bounded_in_requests() {
    let (origin, gateway, _stop) = start(Closing::Never, |config| config.pool_requests_max = 10).await;
    let mut client = Connection::open(gateway.address).await;
    for number in 1..=30 {
        assert_eq!(client.send(Ask::new("POST", "/x").form("a=b")).await.text(), "ok");
        assert_eq!(origin.connections(), (number - 1) / 10 + 1, "request {number}");
    }
}

#[tokio::test]
async fn connections_are_not_kept_beyond_their_time() {
    let (origin, gateway, _stop) = start(Closing::Never, |config| config.pool_idle_ms = 10).await;
    assert_eq!(Ask::new("GET", "/x").send(gateway.address).await.text(), "ok");
    tokio::time::timeout(crate::client::PATIENCE, async {
        while origin.connections() == 1 {
            // Only a request that comes late enough finds the connection too old.
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            assert_eq!(Ask::new("GET", "/x").send(gateway.address).await.text(), "ok");
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_write_never_meets_a_connection_that_the_upstream_has_closed() {
    let (origin, gateway, _stop) = start(Closing::AfterAnswer, |_| {}).await;
    let mut client = Connection::open(gateway.address).await;
    for number in 1..=200 {
        let answer = client.send(Ask::new("POST", "/x").form("a=b")).await;
        assert_eq!(answer.text(), "ok", "request {number}");
        origin.closed(number).await;
    }
    assert_eq!((origin.requests(), origin.connections()), (200, 200));
}

#[tokio::test]
async fn a_write_that_was_lost_is_not_sent_again_and_a_read_is() {
    let (origin, gateway, _stop) = start(Closing::AtSecondRequest, |_| {}).await;
    let mut client = Connection::open(gateway.address).await;
    assert_eq!(client.send(Ask::new("GET", "/a")).await.text(), "ok");
    let lost = client.send(Ask::new("POST", "/b").form("a=b")).await;
    assert_eq!((lost.code(), lost.problem().as_str()), (502, "upstream_lost"));
    assert_eq!((origin.requests(), origin.connections()), (2, 1));
    assert_eq!(client.send(Ask::new("GET", "/c")).await.text(), "ok");
    // The connection breaks under the second read, which goes over another one.
    assert_eq!(client.send(Ask::new("GET", "/d")).await.text(), "ok");
    assert_eq!(origin.text().matches("GET /d ").count(), 2);
    assert_eq!(origin.text().matches("POST /b ").count(), 1);
    let without_body = client.send(Ask::new("POST", "/f")).await;
    assert_eq!(without_body.problem(), "upstream_lost");
    assert_eq!(origin.text().matches("POST /f ").count(), 1);
    assert_eq!(client.send(Ask::new("GET", "/g")).await.text(), "ok");
    let get_with_body = client.send(Ask::new("GET", "/e").form("a=b")).await;
    assert_eq!(get_with_body.problem(), "upstream_lost");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_told_as_that() {
    let tasks = Stopping(Tasks::new());
    let origin = RawOrigin::start(Closing::Never, &tasks.0).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = Urls { monolith: format!("http://{closed}"), service: origin.url() };
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), |_| {}).await;
    let answer = Ask::new("POST", "/x").form("a=b").send(gateway.address).await;
    assert_eq!((answer.code(), answer.problem().as_str()), (503, "upstream_unreachable"));
}
