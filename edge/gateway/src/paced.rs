//! An answer's body on a stream of HTTP/2: in pieces so small that a slow client is not taken for one that
//! has stopped, and with its [`Pulse`] and [`Exchange`] told how it goes.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::body::{AnswerBody, BodyFault};
use crate::pulse::{Exchange, Pulse};

/// The largest piece, in bytes.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// The body.
pub struct Paced {
    body: AnswerBody,
    /// What is left of a larger piece.
    rest: Bytes,
    pulse: Option<Pulse>,
    exchange: Exchange,
}

impl Paced {
    /// Gives this body.
    pub fn new(body: AnswerBody, pulse: Option<Pulse>, exchange: Exchange) -> Self {
        Self { body, rest: Bytes::new(), pulse, exchange }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if let Some(pulse) = &this.pulse {
            pulse.asked();
        }
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        if let Some(pulse) = &this.pulse {
            pulse.given();
        }
        let length = this.rest.len().min(PIECE_BYTES_MAX);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.exchange.finish();
        }
    }
}
