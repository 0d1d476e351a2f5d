//! One running process: opens the roles' listeners, starts the roles, serves until a signal, a failure, or a
//! successor.
//!
//! Signals: SIGTERM and SIGINT end it, SIGHUP has it read its configuration again, SIGUSR2 has its gateway start
//! a successor.

use crate::cli::Role;
use crate::reload::Reloader;
use crate::roles::{self, Installation};
use crate::upgrade::{ADMIN, CLIENTS, Launch, Upgrades};
use anyhow::{Context as _, bail};
use banyan_gateway::Gateway;
use banyan_runtime::otlp::Exporter;
use banyan_runtime::takeover::{Named, Predecessor};
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_runtime::{http, manager, observe};
use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};

/// How long a shutdown may take before what still runs is aborted.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);
/// What the gateway may need beyond its own deadlines.
const DRAINED_SPARE: Duration = Duration::from_secs(5);
/// How long idle connections of a gateway that has been replaced are kept, so that their clients learn by an
/// answer that they end, and send nothing into a connection that is being closed.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// How long the last spans may take to be sent.
const SPANS_DEADLINE: Duration = Duration::from_secs(5);

/// What a process is to do.
pub struct Plan<'p> {
    /// The configuration file.
    pub file: &'p Path,
    /// The roles to run.
    pub roles: &'p [Role],
    /// Whether to take the place of a running gateway.
    pub take_over: bool,
}

/// Runs the roles until SIGINT, SIGTERM, the failure of a task that the process cannot do without, or until
/// another process has taken its place.
///
/// # Errors
/// A role cannot start, or such a task failed.
pub async fn serve(installation: &Installation, plan: Plan<'_>) -> anyhow::Result<()> {
    if plan.take_over && plan.roles != [Role::Gateway] {
        bail!("only a gateway can take over: `banyan run gateway --take-over`");
    }
    // Before the file at its path can have been replaced.
    let launch = Launch::of_this_process()?;
    // From the start on: a signal that comes while roles start is carried out afterwards.
    let signals =
        Signals { hangup: signal(SignalKind::hangup())?, upgrade: signal(SignalKind::user_defined2())? };
    // The gateway drains while everything that it needs still runs, and while its readiness can be asked for.
    let (edge, tasks) = (Tasks::new(), Tasks::new());
    let settings = installation.settings().clone();
    let reloader = Reloader::new(plan.file.to_owned(), settings, plan.roles);
    let (edge_tasks, retired) = (edge.clone(), Arc::default());
    let exporter = Exporter::start(&installation.settings().telemetry);
    let running = Running { installation, edge: edge_tasks, tasks: tasks.clone(), reloader, retired };
    let gateway = match running.start(&plan).await {
        Ok(gateway) => gateway,
        Err(error) => {
            // What has begun ends in order: a gateway's lease is given back.
            edge.stop(SHUTDOWN_DEADLINE).await;
            tasks.stop(SHUTDOWN_DEADLINE).await;
            return Err(error);
        }
    };
    manager::ready();
    let outcome = running.serve(&plan, (launch, gateway), signals).await;
    if let Some(exporter) = exporter {
        exporter.stop(SPANS_DEADLINE).await;
    }
    outcome?;
    match edge.failure().or(tasks.failure()) {
        Some(failure) => bail!("stopped: {failure}"),
        None => Ok(()),
    }
}

/// Signals that change the process while it runs.
struct Signals {
    /// Read the configuration again.
    hangup: Signal,
    /// Start a successor.
    upgrade: Signal,
}

/// The gateway of the process and all its sockets.
type Served = (Arc<Gateway>, Vec<Named>);

/// The process.
struct Running<'i> {
    installation: &'i Installation,
    /// Supervises the gateway, which drains before everything else ends.
    edge: Tasks,
    tasks: Tasks,
    reloader: Arc<Reloader>,
    /// Another process answers on the gateway's admin port.
    retired: Arc<Notify>,
}

impl Running<'_> {
    async fn start(&self, plan: &Plan<'_>) -> anyhow::Result<Option<Served>> {
        let (mut predecessor, sockets) = self.predecessor(plan).await?;
        let (mut admins, clients) = split(sockets);
        // Listeners first: a port that is taken fails before anything has begun.
        let mut listeners = Vec::new();
        for role in plan.roles {
            listeners.push((*role, self.listen(*role, &mut admins)?));
        }
        let (mut clients, mut served) = (Some(clients), None);
        for (role, listener) in listeners {
            let fault = || format!("cannot start {role:?}");
            let router = if role == Role::Gateway {
                let handed = clients.take().unwrap_or_default();
                let (gateway, kept) =
                    roles::gateway(self.installation, &self.edge, handed).with_context(fault)?;
                let named = |socket| Named { name: CLIENTS.into(), socket };
                let mut sockets: Vec<Named> = kept.into_iter().map(named).collect();
                sockets.push(Named { name: ADMIN.into(), socket: listener.try_clone()? });
                if let Some(predecessor) = &mut predecessor {
                    predecessor.wait_for(gateway.ready()).await.context("cannot take over")?;
                }
                gateway.accept();
                let gateway = Arc::new(gateway);
                self.reloader.serves(gateway.clone());
                let router = gateway.admin();
                served = Some((gateway, sockets));
                router
            } else {
                roles::start(self.installation, role, &self.tasks).await.with_context(fault)?
            };
            tracing::info!(role = ?role, address = %listener.local_addr()?, "ready");
            let router = router.merge(self.reloader.router(self.installation.token()));
            let router = observe::observed(router, service_name(role));
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let end = self.end_of_server(role);
            let server = http::serve_until(listener, router, end);
            self.tasks.spawn("http server", OnError::StopProcess, server);
        }
        if let Some(predecessor) = predecessor {
            predecessor.accepting().await;
        }
        Ok(served)
    }

    async fn predecessor(&self, plan: &Plan<'_>) -> anyhow::Result<(Option<Predecessor>, Vec<Named>)> {
        if !plan.take_over {
            return Ok((None, Vec::new()));
        }
        let door = roles::door(&self.installation.settings().data_dir);
        let asked =
            Predecessor::ask(&door).await.with_context(|| format!("taking over at {}", door.display()))?;
        Ok(asked.map_or((None, Vec::new()), |(predecessor, sockets)| (Some(predecessor), sockets)))
    }

    fn listen(&self, role: Role, handed: &mut Vec<TcpListener>) -> anyhow::Result<TcpListener> {
        let address = roles::address(&self.installation.settings().listen, role);
        let of_address = |l: &TcpListener| l.local_addr().is_ok_and(|at| at == address);
        if let Some(at) = handed.iter().position(of_address) {
            return Ok(handed.swap_remove(at));
        }
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(listener)
        };
        bind().with_context(|| format!("cannot listen on {address} for {role:?}"))
    }

    fn end_of_server(&self, role: Role) -> impl Future<Output = ()> + Send + 'static {
        let (shutdown, retired) = (self.tasks.shutdown(), self.retired.clone());
        async move {
            tokio::select! {
                () = shutdown.requested() => {}
                () = retired.notified(), if role == Role::Gateway => {}
            }
        }
    }

    async fn serve(
        &self,
        plan: &Plan<'_>,
        (launch, served): (Launch, Option<Served>),
        signals: Signals,
    ) -> anyhow::Result<()> {
        self.reload_on_signal(signals.hangup);
        let (gateway, sockets) = served.unzip();
        let taken_over = self.upgrades(plan, (launch, sockets), signals.upgrade);
        let mut terminate = signal(SignalKind::terminate())?;
        let (edge, shutdown) = (self.edge.shutdown(), self.tasks.shutdown());
        let successor = tokio::select! {
            _ = terminate.recv() => None,
            outcome = tokio::signal::ctrl_c() => outcome.map(|()| None)?,
            () = edge.requested() => None,
            () = shutdown.requested() => None,
            Ok(pid) = taken_over => Some(pid),
        };
        if let (Some(successor), Some(gateway)) = (successor, gateway) {
            tracing::info!(successor, "another process accepts now; this one ends when its requests have");
            gateway.retire();
            self.retired.notify_one();
            tokio::select! {
                _ = tokio::time::timeout(LEAVE_MAX, gateway.emptied()) => {}
                _ = terminate.recv() => {}
                () = edge.requested() => {}
                () = shutdown.requested() => {}
            }
        }
        let options = self.reloader.settings().gateway;
        let drain = Duration::from_millis(options.drain_notice_ms + options.drain_ms_max);
        self.edge.stop(drain + DRAINED_SPARE).await;
        self.tasks.stop(SHUTDOWN_DEADLINE).await;
        Ok(())
    }

    fn reload_on_signal(&self, mut hangup: Signal) {
        let (reloader, shutdown) = (self.reloader.clone(), self.tasks.shutdown());
        self.tasks.spawn("reload on signal", OnError::Log, async move {
            loop {
                tokio::select! {
                    // What it did is in the log.
                    Some(()) = hangup.recv() => drop(reloader.reload()),
                    () = shutdown.requested() => return Ok::<_, Infallible>(()),
                }
            }
        });
    }

    /// Answers successors and operators; resolves with the process that has taken this one's place.
    fn upgrades(
        &self,
        plan: &Plan<'_>,
        (launch, sockets): (Launch, Option<Vec<Named>>),
        signal: Signal,
    ) -> oneshot::Receiver<u32> {
        let (taken, taken_over) = oneshot::channel();
        let upgrades = Upgrades {
            door: roles::door(&self.installation.settings().data_dir),
            sockets,
            is_apart: plan.roles == [Role::Gateway],
            launch,
            reloader: self.reloader.clone(),
            // Its copies of the sockets are closed when those of the gateway are.
            shutdown: self.edge.shutdown(),
        };
        self.edge.spawn("upgrades", OnError::Log, async move {
            if let Some(pid) = upgrades.serve(signal).await? {
                // Where nobody waits any more, the process is ending anyway.
                let _ = taken.send(pid);
            }
            Ok::<_, std::io::Error>(())
        });
        taken_over
    }
}

/// What a role's own routes are called in metrics and traces; the gateway calls those of clients `gateway`.
fn service_name(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway-admin",
        Role::Control => "control",
        Role::Auth => "auth",
        Role::Sync => "sync",
        Role::Notify => "notify",
    }
}

/// The sockets of the admin port, and those for clients.
fn split(sockets: Vec<Named>) -> (Vec<TcpListener>, Vec<TcpListener>) {
    let (admins, clients): (Vec<Named>, Vec<Named>) = sockets.into_iter().partition(|s| s.name == ADMIN);
    let plain = |named: Vec<Named>| named.into_iter().map(|n| n.socket).collect();
    (plain(admins), plain(clients))
}
