//! Clients over TLS: which certificate they see, what is spoken, and what upstreams are told.

use banyan_gateway::config::TlsConfig;
use banyan_gateway::{Config, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Ask, PATIENCE};
use crate::secure::{Authority, Http2, shown};
use crate::world::{World, until};

/// A gateway whose certificates are these.
async fn start(options: TlsConfig) -> World {
    World::start_with(|config| config.tls = Some(options)).await
}

/// Sends a request over an encrypted connection of HTTP/1.1 and reads until this has come.
async fn speak(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), sent: &str, until: &str) -> String {
    let exchange = async {
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (mut text, mut space) = (String::new(), [0; 4096]);
        while !text.contains(until) {
            let count = stream.read(&mut space).await.unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&space[..count]));
        }
        text
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[tokio::test]
async fn both_versions_are_spoken_and_upstreams_are_told_that_it_was_encrypted() {
    let authority = Authority::new();
    let world = start(authority.options()).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = authority.connect(world.gateway, ("shop.example", protocols)).await;
        assert!(speak(&mut stream, GET, "monolith").await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(world.monolith.last().header("x-forwarded-proto"), Some("https"));
        let forwarded = world.monolith.last().header("forwarded").unwrap().to_owned();
        assert!(forwarded.ends_with(";host=\"shop.example\";proto=https"), "{forwarded}");
        // The connection goes on, and a lie about it does not pass.
        let lie = GET.replace("\r\n\r\n", "\r\nX-Forwarded-Proto: http\r\n\r\n");
        speak(&mut stream, &lie, "monolith").await;
        assert_eq!(world.monolith.last().header("x-forwarded-proto"), Some("https"));
    }
    let client = Http2::open(&authority, world.gateway).await;
    let answer = client.send(Ask::new("POST", "/b?c=d").form("e=f")).await;
    assert_eq!((answer.code(), answer.text().as_str()), (200, "monolith"));
    let seen = world.monolith.last();
    assert_eq!((seen.target.as_str(), &seen.body[..]), ("/b?c=d", &b"e=f"[..]));
    assert_eq!(seen.header("host"), Some("shop.example"));
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("content-length")), (Some("https"), Some("3")));
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name() {
    let authority = Authority::new();
    let mut options = authority.options();
    options.more = vec![authority.issue("api.example"), authority.issue("*.wild.example")];
    let first = options.certificate.clone();
    let world = start(options).await;
    let of = |path: &std::path::Path| pem(&std::fs::read_to_string(path).unwrap());
    for (name, file) in [
        ("api.example", authority.files("api.example").certificate),
        ("a.wild.example", authority.files("*.wild.example").certificate),
        ("shop.example", first),
    ] {
        let stream = authority.connect(world.gateway, (name, &["http/1.1"])).await;
        assert_eq!(shown(&stream), of(&file), "{name}");
    }
}

/// The bytes of the first certificate of a file.
fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_changed_certificate_counts_from_the_next_handshake_and_a_bad_one_never() {
    let authority = Authority::new();
    let options = authority.options();
    let world = start(options.clone()).await;
    let ask = ("shop.example", &["http/1.1"][..]);
    let mut old = authority.connect(world.gateway, ask).await;
    let before = shown(&old);
    speak(&mut old, GET, "monolith").await;
    let current = async || shown(&authority.connect(world.gateway, ask).await);
    authority.issue("shop.example");
    until("the new one is shown", async || current().await != before).await;
    let renewed = current().await;
    // A key of another certificate, then no certificate at all.
    let refused = "banyan_gateway_certificate_loads_total{outcome=\"refused\"}";
    let (certificate, key) =
        (std::fs::read(&options.certificate).unwrap(), std::fs::read(&options.key).unwrap());
    let other = authority.issue("other.example");
    let wrong =
        [(&options.key, std::fs::read(other.key).unwrap()), (&options.certificate, b"nothing".to_vec())];
    for (file, bytes) in wrong {
        let count = world.metric(refused).await;
        std::fs::write(file, bytes).unwrap();
        until("it is refused", async || world.metric(refused).await > count).await;
        assert_eq!(current().await, renewed);
    }
    // Once the files are right again they count, and the first connection has gone on meanwhile.
    let loaded = "banyan_gateway_certificate_loads_total{outcome=\"loaded\"}";
    let count = world.metric(loaded).await;
    std::fs::write(&options.certificate, certificate).unwrap();
    std::fs::write(&options.key, key).unwrap();
    until("they are read", async || world.metric(loaded).await > count).await;
    assert_eq!(current().await, renewed);
    speak(&mut old, GET, "monolith").await;
}

#[tokio::test]
async fn what_does_not_shake_hands_is_closed() {
    let authority = Authority::new();
    let mut options = authority.options();
    options.handshake_timeout_ms = 200;
    let world = start(options).await;
    let mut silent = TcpStream::connect(world.gateway).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 16])).await.expect("an end in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let outcome = |outcome: &str| format!("banyan_gateway_handshakes_total{{outcome=\"{outcome}\"}}");
    assert!(world.metric(&outcome("timed_out")).await > 0.0);
    until("the failure is counted", async || {
        let answer = crate::client::raw(world.gateway, GET.as_bytes(), "").await;
        assert!(!answer.contains("HTTP"), "{answer}");
        world.metric(&outcome("failed")).await > 0.0
    })
    .await;
    assert!(world.monolith.seen().is_empty());
}

#[tokio::test]
async fn certificates_that_cannot_be_used_fail_the_start() {
    let authority = Authority::new();
    let right = authority.options();
    let missing = TlsConfig { key: "/does/not/exist.key".into(), ..right.clone() };
    let swapped = TlsConfig { key: right.certificate.clone(), ..right.clone() };
    let other = TlsConfig { key: authority.issue("other.example").key, ..right.clone() };
    let without = TlsConfig { certificate: right.key.clone(), ..right };
    for (options, named) in [
        (missing, "/does/not/exist.key"),
        (swapped, "shop.example.pem"),
        (other, "shop.example.pem"),
        (without, "shop.example.key"),
    ] {
        let config = Config { tls: Some(options), ..Config::default() };
        let deps = crate::shutdown::deps("127.0.0.1:0".parse().unwrap());
        match banyan_gateway::start(config, deps).await {
            Err(fault @ StartError::Tls(_)) => assert!(fault.to_string().contains(named), "{named}: {fault}"),
            other => panic!("{named}: {:?}", other.err()),
        }
    }
}
