//! One request from its head to the head of its answer, on one worker.

use banyan_core::Capability;
use banyan_runtime::http::Problem;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::trace::{self, Kind, Span, Tracer};
use banyan_runtime::{failpoints, observe};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::access::{Entry, Subject};
use crate::acknowledge::{Acknowledging, Standing};
use crate::body::{AnswerBody, BodyFault, BodyLimits, Occupied, Pace, RequestBody};
use crate::capability::Call;
use crate::config::Config;
use crate::drained::Drained;
use crate::error::{self, Answer, bad_request};
use crate::exchange::{Detached, Upstream};
use crate::framing;
use crate::group::{Group, Groups, Place};
use crate::headers::{self, Peer};
use crate::identity::Identities;
use crate::metrics::{Answerer, Figures, SERVICE};
use crate::ownership::{Ownership, WriteInFlight};
use crate::path;
use crate::pool::{Authority, Pool, PoolLimits};
use crate::record::Record;
use crate::resolve::{Resolved, resolve};
use crate::route::{CapabilityIndex, Routes};
use crate::spawner::Spawner;
use crate::tunnel::{self, Places, Slot, Tunnel, Upgrade};

const TRACER: Tracer = Tracer::of(SERVICE);

/// What all workers share.
pub struct Shared {
    /// The options.
    pub config: Config,
    /// The routes of the capabilities.
    pub routes: Routes,
    /// The groups of the monolith's routes.
    pub groups: Groups,
    /// Who owns what.
    pub ownership: Arc<Ownership>,
    /// What has been acknowledged.
    pub record: Record,
    /// What acknowledgements go by, by capability.
    pub acknowledging: Arc<[Acknowledging]>,
    /// What services want to see.
    pub token: RoleToken,
    /// The monolith.
    pub monolith: Authority,
    /// The services, by capability.
    pub services: Vec<Authority>,
    /// The places of connections that change their protocol.
    pub tunnels: Places,
    /// The figures of the groups, in their order, and of the capabilities behind them.
    pub labels: Labels,
}

/// The names under which requests are counted.
pub struct Labels {
    groups: Vec<Label>,
    capabilities: Vec<Label>,
}

/// One name and its figures.
pub struct Label {
    name: Arc<str>,
    figures: Figures,
}

impl Labels {
    /// The names of all groups and capabilities.
    pub fn new(groups: &Groups, capabilities: &[Capability]) -> Self {
        let label = |name: &str| Label { name: name.into(), figures: Figures::new(name) };
        Self {
            groups: groups.names().map(label).collect(),
            capabilities: capabilities.iter().map(|c| label(&c.name)).collect(),
        }
    }

    fn of_group(&self, group: &Group) -> Option<&Label> {
        self.groups.iter().find(|label| *label.name == *group.name())
    }
}

/// One worker's side.
pub struct Proxy {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Who requests are.
    pub identities: Identities,
    monolith: Upstream,
    services: Vec<Upstream>,
    exchanges: Spawner,
    drained: Drained,
}

/// A worker's side as it is now; requests in flight go on with the one that they began with.
pub struct Current(RwLock<Arc<Proxy>>);

impl Current {
    /// Begins with this one.
    pub fn new(proxy: Arc<Proxy>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(proxy)))
    }

    /// The one for a new request.
    pub fn get(&self) -> Arc<Proxy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes another for what comes next.
    pub fn set(&self, proxy: Arc<Proxy>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = proxy;
    }
}

impl Proxy {
    /// A worker's side; `exchanges` runs what goes on without its client.
    pub fn new(
        shared: Arc<Shared>,
        identities: Identities,
        (exchanges, drained): (Spawner, Drained),
    ) -> Arc<Self> {
        let (config, drivers) = (&shared.config, Spawner::default());
        let upstream = |authority: &Authority, ms: u64| Upstream {
            pool: Pool::new(authority.clone(), PoolLimits::from(config), drivers.clone()),
            answer_max: Duration::from_millis(ms),
        };
        let monolith = upstream(&shared.monolith, config.monolith_timeout_ms);
        let services = shared.services.iter().map(|s| upstream(s, config.service_timeout_ms)).collect();
        Arc::new(Self { monolith, services, identities, exchanges, drained, shared })
    }

    /// The same worker's side by other options. What is in flight goes on by this one, which keeps its
    /// connections until then.
    pub fn renewed(&self, shared: Arc<Shared>, identities: Identities) -> Arc<Self> {
        Self::new(shared, identities, (self.exchanges.clone(), self.drained.clone()))
    }

    /// Closes the idle connections to upstreams.
    pub fn close(&self) {
        self.services.iter().chain([&self.monolith]).for_each(|upstream| upstream.pool.close());
    }

    /// Answers a request that the guard has refused.
    pub fn refuse(fault: framing::Fault) -> Answer {
        let mut answer = error::answer(&fault.into());
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    /// Answers a request.
    pub async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answer {
        let (mut head, body) = request.into_parts();
        let checked = check(&head);
        let upgrade = self.upgrade(&mut head);
        headers::arrive(&mut head.headers, peer);
        let parent = observe::parent(&head.headers);
        let span = TRACER.begin(observe::known(&head.method), Kind::Server, parent);
        let context = span.context();
        let request_id = headers::request_id(&head.headers, context);
        let raw = head.uri.path().to_owned();
        let path = path::normal(&raw);
        let group = self.shared.groups.of(head.method.as_str(), &path).clone();
        let mut entry = self.entry(&head, (&group, peer), (&request_id, span));
        let outcome = match checked {
            Ok(()) => {
                prepare(&mut head, &self.shared.monolith);
                headers::forward(&mut head.headers, peer, context, &request_id);
                if let Some((upgrade, slot)) = upgrade {
                    upgrade.tell(&mut head.headers);
                    head.extensions.insert((upgrade, slot));
                }
                let arrived = Arrived { head, body, path: &path, group };
                trace::scope(context, self.route(arrived, &mut entry)).await
            }
            Err(problem) => Err(problem),
        };
        let (mut answer, answerer) = outcome.unwrap_or_else(|problem| {
            let mut answer = error::answer(&problem);
            if let Ok(id) = HeaderValue::from_str(&request_id) {
                answer.headers_mut().insert("x-request-id", id);
            }
            (answer, Answerer::Gateway)
        });
        if let Some(mut entry) = entry {
            entry.answered(answer.status().as_u16(), answerer);
            answer.body_mut().set_entry(entry);
        }
        answer
    }

    /// The change of protocol that a request asks for, and where its connection waits for it.
    fn upgrade(&self, head: &mut Parts) -> Option<(Upgrade, Slot)> {
        let slot = head.extensions.remove::<Slot>()?;
        let upgrade = Upgrade::of(&head.headers, &self.shared.config)?;
        (head.method == Method::GET).then_some((upgrade, slot))
    }

    fn entry(
        &self,
        head: &Parts,
        (group, peer): (&Group, Peer),
        (request_id, span): (&str, Span),
    ) -> Option<Box<Entry>> {
        let label = self.shared.labels.of_group(group)?;
        let subject = Subject {
            method: &head.method,
            path: head.uri.path(),
            route: &label.name,
            peer: peer.address,
            request_id,
        };
        Some(Entry::new(subject, label.figures.clone(), span, self.shared.config.access_log))
    }

    async fn route(
        &self,
        arrived: Arrived<'_>,
        entry: &mut Option<Box<Entry>>,
    ) -> Result<(Answer, Answerer), Problem> {
        let Arrived { head, body, path, group } = arrived;
        let config = &self.shared.config;
        if body.size_hint().lower() > config.body_bytes_max {
            return Err(error::body_fault(&BodyFault::TooLarge, "body_bytes_max"));
        }
        let limits = BodyLimits { bytes_max: config.body_bytes_max, idle_max: config.body_idle() };
        let body = RequestBody::stream(body, limits);
        let inspect_max = config.body_inspect_bytes_max;
        let resolved = resolve(&self.shared.routes, (path, &head), body, inspect_max).await?;
        let Resolved { found: Some(found), method, fields, body } = resolved else {
            return self.monolith(head, resolved.body, (&group, None)).await;
        };
        let label = &self.shared.labels.capabilities[found.index.0];
        if let Some(entry) = entry {
            entry.of_capability(&label.name, &label.figures);
        }
        self.capability(Call { found, path, method, fields, head, body, group }).await
    }

    /// Sends a request to the monolith as it is.
    ///
    /// # Errors
    /// Its group is full, or the monolith does not answer.
    pub async fn monolith(
        &self,
        head: Parts,
        body: RequestBody,
        (group, write): (&Arc<Group>, Option<WriteInFlight>),
    ) -> Result<(Answer, Answerer), Problem> {
        let place = group.enter().await.ok_or_else(|| error::group_full(group))?;
        let request = Request::from_parts(head, body);
        let errand = Errand { peer: Answerer::Monolith.as_str(), place: Some(place), write };
        let answer = self.send(&self.monolith, request, errand).await?;
        Ok((answer, Answerer::Monolith))
    }

    /// Sends a request to the service of a capability.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn send_to_service(
        &self,
        index: CapabilityIndex,
        request: Request<RequestBody>,
        write: Option<WriteInFlight>,
    ) -> Result<Answer, Problem> {
        let peer = &self.shared.labels.capabilities[index.0].name;
        self.send(&self.services[index.0], request, Errand { peer, place: None, write }).await
    }

    /// Once sent, an exchange goes on where the client goes away: the upstream's worker does so too.
    async fn send(
        &self,
        upstream: &Upstream,
        mut request: Request<RequestBody>,
        Errand { peer, place, write }: Errand<'_>,
    ) -> Result<Answer, Problem> {
        let upgrade = request.extensions_mut().remove::<(Upgrade, Slot)>();
        let mut span = TRACER.begin(observe::known(request.method()), Kind::Client, trace::current());
        span.set("http.request.method", observe::known(request.method()));
        span.set("peer.service", peer);
        headers::set_parent(request.headers_mut(), span.context());
        let tunnel_place = match &upgrade {
            Some(_) => Some(self.shared.tunnels.enter().ok_or_else(error::upgrades_full)?),
            None => None,
        };
        let (upstream, pace) = (upstream.clone(), self.pace());
        let spawner = self.exchanges.clone();
        let is_write = write.is_some();
        let exchange = async move {
            if is_write {
                failpoints::before("gateway", "write");
            }
            let sent = upstream.send(request).await;
            match &sent {
                Ok((answer, _)) => observe::answered(&mut span, answer.status().as_u16()),
                Err(fault) => span.fail(&fault.to_string()),
            }
            let (answer, connection) = sent?;
            drop(span);
            if is_write {
                failpoints::after("gateway", "write");
            }
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Exchanged::Switched(answer));
            }
            let occupied = Occupied { connection, place, write };
            let pace = pace.of(answer.headers());
            Ok(Exchanged::Answered(answer.map(|body| AnswerBody::stream(body, occupied, pace, spawner))))
        };
        let outcome: Result<Exchanged, crate::exchange::Fault> =
            Detached::new(exchange, self.exchanges.clone()).await;
        let mut answer = match (outcome?, upgrade, tunnel_place) {
            (Exchanged::Answered(answer), _, _) => answer,
            (Exchanged::Switched(answer), Some((upgrade, slot)), Some(place))
                if upgrade.is_agreed_to(answer.headers()) =>
            {
                return Ok(self.switched(answer, &upgrade, (&slot, place)));
            }
            (Exchanged::Switched(_), _, _) => return Err(error::switched_unasked()),
        };
        if let Some(standing) = Standing::of(answer.headers()).filter(|_| is_write) {
            answer.extensions_mut().insert(standing);
        }
        headers::leave(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        Ok(answer)
    }

    fn pace(&self) -> Pace {
        let config = &self.shared.config;
        Pace::new((config.body_idle(), config.stream_idle()), self.drained.clone())
    }

    /// The upstream has agreed to change the protocol. Its side of the connection waits for the client's.
    fn switched(
        &self,
        mut answer: Response<Incoming>,
        upgrade: &Upgrade,
        (slot, place): (&Slot, tunnel::Place),
    ) -> Answer {
        let upstream = hyper::upgrade::on(&mut answer);
        slot.set(Tunnel { upstream, place, idle_max: self.shared.config.stream_idle() });
        headers::leave(answer.headers_mut());
        upgrade.tell(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        answer.map(|_| AnswerBody::whole(""))
    }
}

/// What has come from an upstream.
enum Exchanged {
    Answered(Answer),
    /// The protocol changes.
    Switched(Response<Incoming>),
}

/// What a request to an upstream is, and holds until it is answered.
struct Errand<'p> {
    /// Who is asked, for the trace.
    peer: &'p str,
    place: Option<Place>,
    write: Option<WriteInFlight>,
}

struct Arrived<'r> {
    head: Parts,
    body: Incoming,
    path: &'r str,
    group: Arc<Group>,
}

/// Refuses what the gateway does not pass. The framing has been checked already.
fn check(head: &Parts) -> Result<(), Problem> {
    if head.method == Method::TRACE {
        return Err(error::method_not_allowed("TRACE"));
    }
    let expects = head.headers.get_all(header::EXPECT).iter();
    if expects.into_iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let detail = "the gateway knows no expectation but 100-continue";
        return Err(Problem::new(StatusCode::EXPECTATION_FAILED, "expectation_failed", detail));
    }
    if let Some(authority) = head.uri.authority() {
        let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let same = host.is_none_or(|host| host.eq_ignore_ascii_case(authority.as_str().as_bytes()));
        if !same || authority.as_str().contains('@') {
            return Err(bad_request("ambiguous_request", "the target's host and the header Host differ"));
        }
    }
    Ok(())
}

/// Makes the head one that an upstream is sent: origin form, HTTP/1.1, a host.
fn prepare(head: &mut Parts, upstream: &Authority) {
    let host = head.uri.authority().map_or(upstream.as_str(), |a| a.as_str());
    if !head.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        head.headers.insert(header::HOST, host);
    }
    if head.uri.authority().is_some() {
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    head.version = Version::HTTP_11;
    // What hyper noted about the client's connection does not concern the upstream's.
    head.extensions.clear();
}
