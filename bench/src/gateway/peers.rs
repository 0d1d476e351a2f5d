//! nginx and HAProxy, set up to do what the gateway does for a request that it passes; and the upstream.

use anyhow::bail;
use banyan_runtime::clock;
use banyan_testkit::{Process, free_port};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The length of the upstream's answer in bytes.
const ANSWER_BYTES: usize = 1024;

/// A server and its port at 127.0.0.1.
pub struct Peer {
    /// The port.
    pub port: u16,
    /// The process with its children.
    pub process: Process,
}

/// The upstream, where everything but the proxies runs: a fixed answer, from an nginx of its own.
///
/// # Errors
/// nginx is missing.
pub fn upstream(folder: &Path) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let answer = "x".repeat(ANSWER_BYTES);
    let server = format!(
        "    access_log off;\n    server {{\n        listen 127.0.0.1:{port};\n\
         \x20       default_type application/json;\n        return 200 '{answer}';\n    }}\n"
    );
    Peer::start("upstream", nginx_of(folder, ("upstream", &server))?, (folder, port))
}

/// nginx as a proxy. Its log is buffered, which is the best that it can do.
///
/// # Errors
/// nginx is missing.
pub fn nginx(folder: &Path, (upstream, processor): (u16, u32)) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let log = folder.join("nginx-access.log");
    let server = format!(
        "    log_format line '$time_iso8601 $request_method $uri $status $body_bytes_sent $request_time \
         $upstream_addr $remote_addr $request_id';\n\
         \x20   access_log {log} line buffer=64k flush=1s;\n\
         \x20   client_max_body_size 64m;\n    client_header_timeout 10s;\n    send_timeout 30s;\n\
         \x20   proxy_read_timeout 60s;\n    limit_conn_zone $server_name zone=all:1m;\n\
         \x20   upstream monolith {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}\n\
         \x20   server {{\n        listen 127.0.0.1:{port};\n        limit_conn all 256;\n\
         \x20       location / {{\n            proxy_pass http://monolith;\n            proxy_http_version 1.1;\n\
         \x20           proxy_set_header Connection '';\n            proxy_set_header Host $http_host;\n\
         \x20           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         \x20           proxy_set_header X-Forwarded-Proto $scheme;\n\
         \x20           proxy_set_header X-Forwarded-Host $http_host;\n\
         \x20           proxy_set_header X-Request-Id $request_id;\n        }}\n    }}\n",
        log = log.display(),
    );
    let command = on_processor(processor, &nginx_of(folder, ("nginx", &server))?);
    Peer::start("nginx", command, (folder, port))
}

/// HAProxy as a proxy.
///
/// # Errors
/// HAProxy is missing.
pub fn haproxy(folder: &Path, (upstream, processor): (u16, u32)) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let file = folder.join("haproxy.cfg");
    let configuration = format!(
        "global\n    nbthread 1\n    maxconn 4000\n    log stdout format raw local0\n\n\
         defaults\n    mode http\n    log global\n    option httplog\n    option http-keep-alive\n\
         \x20   http-reuse always\n    timeout connect 2s\n    timeout client 75s\n    timeout server 60s\n\
         \x20   timeout http-request 10s\n    timeout queue 1s\n\n\
         frontend clients\n    bind 127.0.0.1:{port}\n    unique-id-format %{{+X}}o%ci%cp%Ts%rt%pid\n\
         \x20   unique-id-header X-Request-Id\n    option forwardfor\n\
         \x20   http-request set-header X-Forwarded-Proto http\n\
         \x20   http-request set-header X-Forwarded-Host %[req.hdr(host)]\n    default_backend monolith\n\n\
         backend monolith\n    server monolith 127.0.0.1:{upstream} maxconn 256 pool-max-conn 64\n"
    );
    fs::write(&file, configuration)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Peer::start("haproxy", on_processor(processor, &command), (folder, port))
}

impl Peer {
    fn start(name: &str, command: Command, (folder, port): (&Path, u16)) -> anyhow::Result<Self> {
        let process = Process::spawn(name, command, folder)?;
        let begin = clock::instant();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !process.is_running() || begin.elapsed() > START_MAX {
                bail!("{name} does not start; the end of its log:\n{}", process.log_tail(5));
            }
            thread::sleep(POLL);
        }
        Ok(Self { port, process })
    }
}

/// The same program with the same arguments and environment, on one processor.
pub fn on_processor(processor: u32, command: &Command) -> Command {
    let mut bound = Command::new("taskset");
    bound.arg("--cpu-list").arg(processor.to_string()).arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    bound
}

/// nginx as one process with these lines in its `http` block.
fn nginx_of(folder: &Path, (name, lines): (&str, &str)) -> anyhow::Result<Command> {
    let (file, at) = (folder.join(format!("{name}.conf")), folder.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {at}/{name}-{what};\n"))
        .concat();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {at}/{name}.pid;\nerror_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}    keepalive_requests 100000000;\n{lines}}}\n"
    );
    fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(file);
    Ok(command)
}
