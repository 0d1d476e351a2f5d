//! A client's connection, read through [`Framing`] before hyper sees a byte.
//!
//! A request that is refused at its head reaches hyper as a plain stand-in, and the refusal waits in a
//! [`Verdict`] for the service, which answers it in its place behind pipelined requests before it. A fault in
//! a body is an error of the body. After a refusal the connection passes nothing more.

use bytes::{Buf as _, Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::framing::{Fault, Framing, HeadLimits, Look};

/// Bytes read at once where they are looked at.
const READ_BYTES: usize = 8 << 10;
/// What hyper reads instead of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What the guard and the service tell each other about the request that the service is called with next.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    refusal: Option<Fault>,
    /// The request asks for another protocol, and nothing behind it passes until that is decided.
    held: bool,
    waiting: Option<Waker>,
}

impl Verdict {
    /// Takes the refusal.
    pub fn take(&self) -> Option<Fault> {
        self.lock().refusal.take()
    }

    /// Whether the request asks for another protocol.
    pub fn is_held(&self) -> bool {
        self.lock().held
    }

    /// The protocol stays: what is behind the request is HTTP.
    pub fn release(&self) {
        let mut noted = self.lock();
        noted.held = false;
        if let Some(waiting) = noted.waiting.take() {
            waiting.wake();
        }
    }

    fn poll_released(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut noted = self.lock();
        if !noted.held {
            return Poll::Ready(());
        }
        noted.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection.
pub struct Guard<S> {
    stream: S,
    framing: Framing,
    /// From a head's first byte to its last.
    head_max: Duration,
    /// Running while a head has begun and not ended.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that have not been passed on.
    buffer: BytesMut,
    /// How many of them may pass.
    passable: usize,
    verdict: Verdict,
    refused: bool,
    ended: bool,
}

impl<S> Guard<S> {
    /// Guards a stream; `head_max` is how long a head may take from its first byte to its last.
    pub fn new(stream: S, limits: HeadLimits, head_max: Duration, verdict: Verdict) -> Self {
        Self {
            stream,
            framing: Framing::new(limits),
            head_max,
            head_timer: None,
            buffer: BytesMut::new(),
            passable: 0,
            verdict,
            refused: false,
            ended: false,
        }
    }

    /// The stream beneath, and what has been read of it and not been passed on.
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.buffer.freeze())
    }

    /// Looks at what is there; whether something may pass. Never more than the rest of one request.
    fn look(&mut self) -> io::Result<bool> {
        loop {
            let in_head = self.framing.is_between_requests();
            if self.passable > 0 && in_head {
                return Ok(true);
            }
            match self.framing.look(&self.buffer[self.passable..]) {
                Look::Pass(count) => {
                    self.passable += count;
                    self.verdict.lock().held = self.framing.is_held();
                }
                Look::Skip(count) => self.buffer.advance(count),
                Look::Refused(fault) if in_head => self.refuse(fault),
                // Framing stays as it is: it will say the same again.
                Look::More | Look::Refused(_) if self.passable > 0 => return Ok(true),
                Look::More => return Ok(false),
                Look::Refused(fault) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, BadBody(fault)));
                }
            }
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.verdict.lock().refusal = Some(fault);
        self.buffer.clear();
        self.buffer.extend_from_slice(STAND_IN);
        self.passable = STAND_IN.len();
        self.refused = true;
    }

    fn poll_head_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.buffer.is_empty() || !self.framing.is_between_requests() {
            self.head_timer = None;
            return Poll::Pending;
        }
        let timeout = self.head_max;
        self.head_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}

/// A body whose framing is refused; the error beneath hyper's error of the body.
#[derive(Debug, thiserror::Error)]
#[error("the body is not framed as HTTP/1.1 says: {0:?}")]
pub struct BadBody(pub Fault);

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads into the buffer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let mut space = ReadBuf::new(&mut self.buffer[before..]);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut space);
        let count = space.filled().len();
        self.buffer.truncate(before + count);
        polled.map_ok(|()| count)
    }

    /// Waits for the decision on another protocol; meanwhile only notices where the client goes away.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.verdict.poll_released(cx).is_ready() {
            self.framing.release();
            return Poll::Ready(Ok(()));
        }
        while self.buffer.len() < READ_BYTES {
            if ready!(self.poll_fill(cx))? == 0 {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Reads a body of known length straight into the reader's buffer.
    fn poll_plain(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>, left: u64) -> Poll<io::Result<()>> {
        let space = out.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut limited = ReadBuf::new(out.initialize_unfilled_to(space));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut limited))?;
        let count = limited.filled().len();
        out.advance(count);
        self.framing.passed_plain(count as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.look()? {
                let count = this.passable.min(out.remaining());
                out.put_slice(&this.buffer[..count]);
                this.buffer.advance(count);
                this.passable -= count;
                this.head_timer = None;
                return Poll::Ready(Ok(()));
            }
            if this.refused {
                // An end of the stream here would be taken for a client that has gone away.
                return Poll::Pending;
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.framing.is_held() {
                ready!(this.poll_held(cx))?;
                continue;
            }
            let left = this.framing.plain_body();
            if left > 0 && this.buffer.is_empty() {
                return this.poll_plain(cx, out, left);
            }
            match this.poll_fill(cx)? {
                // What is there is no whole request, and never will be.
                Poll::Ready(0) => this.ended = true,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(this.poll_head_timeout(cx));
                    this.refuse(Fault::HeadTimeout);
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
