//! One line per request, target `access`, its span and the figures; all when the answer has ended.
//!
//! The line has the path without its query, which may hold secrets.

use banyan_runtime::trace::{self, Span};
use banyan_runtime::{clock, observe};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::metrics::{Answerer, Figures};

/// What is known of a request before it is answered.
pub struct Entry {
    /// Its line in the log; `None` where the log is off.
    line: Option<Line>,
    method: http::Method,
    span: Span,
    figures: Figures,
    start: Instant,
    status: u16,
    answerer: Answerer,
    bytes: u64,
    whole: bool,
}

struct Line {
    path: String,
    route: Arc<str>,
    peer: IpAddr,
    request_id: String,
}

/// What the log says about a request.
pub struct Subject<'r> {
    /// The method.
    pub method: &'r http::Method,
    /// The path as it came.
    pub path: &'r str,
    /// The capability or route group.
    pub route: &'r Arc<str>,
    /// The client.
    pub peer: IpAddr,
    /// The request's id.
    pub request_id: &'r str,
}

impl Entry {
    /// An entry that begins now.
    pub fn new(subject: Subject<'_>, figures: Figures, span: Span, is_logged: bool) -> Box<Self> {
        let is_logged = is_logged && tracing::enabled!(target: "access", tracing::Level::INFO);
        let line = is_logged.then(|| Line {
            path: subject.path.to_owned(),
            route: subject.route.clone(),
            peer: subject.peer,
            request_id: subject.request_id.to_owned(),
        });
        let method = subject.method.clone();
        let mut entry = Self {
            line,
            method,
            span,
            figures,
            start: clock::instant(),
            status: 0,
            answerer: Answerer::Gateway,
            bytes: 0,
            whole: true,
        };
        entry.span.set("url.path", subject.path);
        Box::new(entry)
    }

    /// The request turns out to be one of a capability.
    pub fn of_capability(&mut self, route: &Arc<str>, figures: &Figures) {
        self.figures = figures.clone();
        if let Some(line) = &mut self.line {
            line.route = route.clone();
        }
    }

    /// The answer's head is known.
    pub fn answered(&mut self, status: u16, answerer: Answerer) {
        (self.status, self.answerer) = (status, answerer);
    }

    /// So many bytes of the body more.
    pub fn add_bytes(&mut self, count: usize) {
        self.bytes += count as u64;
    }

    /// The upstream did not send all of the body.
    pub fn broke(&mut self) {
        self.whole = false;
    }

    fn end_span(&mut self, status: u16) {
        if !self.span.is_recorded() {
            return;
        }
        let (method, route) = (observe::known(&self.method), self.figures.route());
        self.span.rename(format!("{method} {route}"));
        self.span.set("http.request.method", method);
        self.span.set("http.route", route);
        self.span.set("banyan.upstream", self.answerer.as_str());
        observe::answered(&mut self.span, status);
        if !self.whole {
            self.span.fail("the upstream did not send all of the body");
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let seconds = self.start.elapsed().as_secs_f64();
        // 499 as nginx says it: the client went away before the answer.
        let status = if self.status == 0 { 499 } else { self.status };
        self.figures.count(&self.method, (self.answerer, status), seconds);
        self.end_span(status);
        if let Some(line) = &self.line {
            let (method, Line { path, route, peer, request_id }) = (&self.method, line);
            let ms = (seconds * 10_000.0).round() / 10.0;
            let (bytes, upstream, whole) = (self.bytes, self.answerer.as_str(), self.whole);
            trace::sync_scope(self.span.context(), || {
                tracing::info!(
                    target: "access",
                    %method, path, status, bytes, ms, upstream, %route, %peer, request_id, whole
                );
            });
        }
    }
}
