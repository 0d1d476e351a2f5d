//! Where a request's head and body end, read so strictly that no other reader can see it differently
//! (RFC 9112; request smuggling). Pure: bytes in, a verdict out.
//!
//! hyper repairs some ambiguities by itself (`Content-Length` beside `Transfer-Encoding`, repeated lengths,
//! lines that end with a bare LF) and then nobody behind it can tell. So this reader comes first: it lets
//! only bytes pass whose framing has one reading, and never bytes of two requests at once.

use std::ops::RangeInclusive;

/// The longest line of a chunk's size with its extensions, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// The longest trailer section, in bytes.
const TRAILER_BYTES_MAX: usize = 8 << 10;
/// Empty lines before a request that are forgiven (RFC 9112 section 2.2).
const EMPTY_LINES_MAX: u8 = 1;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no HTTP/1 request.
    Malformed(&'static str),
    /// Readers may disagree on where it ends, or whom it is for.
    Ambiguous(&'static str),
    /// Its head exceeds a limit.
    HeadTooLarge,
    /// Its head did not arrive in time.
    HeadTimeout,
    /// It is not HTTP/1.0 or HTTP/1.1.
    Version,
    /// It asks for a tunnel.
    Tunnel,
}

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, request line and empty line included.
    pub bytes_max: usize,
    /// Header lines.
    pub lines_max: usize,
}

/// What may be done with the bytes that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They are not enough for a verdict.
    More,
    /// That many are to be dropped.
    Skip(usize),
    /// That many may pass.
    Pass(usize),
    /// No more may pass.
    Refused(Fault),
}

/// The reader of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head {
        scanned: usize,
        empty_lines: u8,
    },
    Body(u64),
    Chunked(Chunk),
    /// Behind a request that asks for another protocol.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the line of a size, with the length of the line so far.
    Line,
    Data(u64),
    /// The CRLF behind data.
    DataEnd,
    /// In the trailer section, with its length so far.
    Trailers(usize),
}

const START: Stage = Stage::Head { scanned: 0, empty_lines: 0 };

impl Framing {
    /// A reader at the beginning of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, stage: START }
    }

    /// Whether the next byte begins a request.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.stage, Stage::Head { .. })
    }

    /// Whether the request that has passed asks for another protocol, so that it is not decided yet what the
    /// bytes behind it are.
    pub fn is_held(&self) -> bool {
        self.stage == Stage::Held
    }

    /// The protocol stays: the next byte begins a request.
    pub fn release(&mut self) {
        if self.is_held() {
            self.stage = START;
        }
    }

    /// How many of the next bytes are a body of known length, and pass without being looked at.
    pub fn plain_body(&self) -> u64 {
        if let Stage::Body(left) = self.stage { left } else { 0 }
    }

    /// Takes note of bytes of a body of known length that have passed.
    pub fn passed_plain(&mut self, count: u64) {
        if let Stage::Body(left) = self.stage {
            self.stage = if count < left { Stage::Body(left - count) } else { START };
        }
    }

    /// Looks at the bytes behind all that has passed or been dropped.
    pub fn look(&mut self, bytes: &[u8]) -> Look {
        if bytes.is_empty() {
            return Look::More;
        }
        match self.stage {
            Stage::Head { scanned, empty_lines } => self.look_at_head(bytes, scanned, empty_lines),
            Stage::Body(left) => {
                let count = (bytes.len() as u64).min(left);
                self.passed_plain(count);
                Look::Pass(count as usize)
            }
            Stage::Chunked(chunk) => self.look_at_chunk(bytes, chunk),
            Stage::Held => Look::More,
        }
    }

    fn look_at_head(&mut self, bytes: &[u8], scanned: usize, empty_lines: u8) -> Look {
        if bytes.starts_with(b"\r\n") {
            if empty_lines == EMPTY_LINES_MAX {
                return Look::Refused(Fault::Malformed("empty lines before the request"));
            }
            self.stage = Stage::Head { scanned: 0, empty_lines: empty_lines + 1 };
            return Look::Skip(2);
        }
        for at in scanned..bytes.len() {
            if bytes[at] != b'\n' {
                continue;
            }
            if at == 0 || bytes[at - 1] != b'\r' {
                return Look::Refused(Fault::Ambiguous("a line ends with a bare LF"));
            }
            if at >= 3 && bytes[at - 2] == b'\n' {
                return self.end_head(&bytes[..=at]);
            }
        }
        if bytes.len() >= self.limits.bytes_max {
            return Look::Refused(Fault::HeadTooLarge);
        }
        self.stage = Stage::Head { scanned: bytes.len(), empty_lines };
        Look::More
    }

    fn end_head(&mut self, head: &[u8]) -> Look {
        if head.len() > self.limits.bytes_max {
            return Look::Refused(Fault::HeadTooLarge);
        }
        match body_of(head, self.limits.lines_max) {
            Ok(Body::Upgrade) => self.stage = Stage::Held,
            Ok(Body::Length(0)) => self.stage = START,
            Ok(Body::Length(length)) => self.stage = Stage::Body(length),
            Ok(Body::Chunked) => self.stage = Stage::Chunked(Chunk::Line),
            Err(fault) => return Look::Refused(fault),
        }
        Look::Pass(head.len())
    }

    fn look_at_chunk(&mut self, bytes: &[u8], chunk: Chunk) -> Look {
        let (count, next) = match chunk {
            Chunk::Data(left) => {
                let count = (bytes.len() as u64).min(left);
                (count as usize, if count < left { Chunk::Data(left - count) } else { Chunk::DataEnd })
            }
            Chunk::DataEnd => match bytes {
                [b'\r'] => return Look::More,
                [b'\r', b'\n', ..] => (2, Chunk::Line),
                _ => return Look::Refused(Fault::Ambiguous("a chunk is longer than its size")),
            },
            Chunk::Line => match line(bytes, CHUNK_LINE_BYTES_MAX) {
                Ok(None) => return Look::More,
                Ok(Some(line)) => match chunk_size(line) {
                    Some(0) => (line.len() + 2, Chunk::Trailers(0)),
                    Some(size) => (line.len() + 2, Chunk::Data(size)),
                    None => return Look::Refused(Fault::Ambiguous("a chunk's size cannot be read")),
                },
                Err(fault) => return Look::Refused(fault),
            },
            Chunk::Trailers(length) => match line(bytes, TRAILER_BYTES_MAX - length.min(TRAILER_BYTES_MAX)) {
                Ok(None) => return Look::More,
                Ok(Some(b"")) => {
                    self.stage = START;
                    return Look::Pass(2);
                }
                Ok(Some(line)) if field(line).is_some() => {
                    (line.len() + 2, Chunk::Trailers(length + line.len() + 2))
                }
                Ok(Some(_)) => return Look::Refused(Fault::Malformed("a trailer cannot be read")),
                Err(fault) => return Look::Refused(fault),
            },
        };
        self.stage = Stage::Chunked(next);
        Look::Pass(count)
    }
}

/// The first line without its CRLF; `None` where it has not ended yet.
fn line(bytes: &[u8], length_max: usize) -> Result<Option<&[u8]>, Fault> {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        let too_long = bytes.len() > length_max;
        return if too_long {
            Err(Fault::Malformed("a line of a chunked body is too long"))
        } else {
            Ok(None)
        };
    };
    match bytes[..end].strip_suffix(b"\r") {
        Some(line) if line.len() <= length_max => Ok(Some(line)),
        Some(_) => Err(Fault::Malformed("a line of a chunked body is too long")),
        None => Err(Fault::Ambiguous("a line ends with a bare LF")),
    }
}

/// The size of a chunk; extensions (RFC 9112 section 7.1.1) may have any visible character.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(end);
    let plain = extensions.is_empty()
        || (extensions[0] == b';' && extensions.iter().all(|b| *b == b'\t' || (0x20..0x7f).contains(b)));
    // 15 digits stay below 2^60: lengths cannot overflow.
    if !plain || digits.is_empty() || digits.len() > 15 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

enum Body {
    Length(u64),
    Chunked,
    /// None, and what follows may be another protocol.
    Upgrade,
}

/// Reads a whole head, its empty line included.
fn body_of(head: &[u8], lines_max: usize) -> Result<Body, Fault> {
    let mut rest = head;
    let mut next = || -> Option<&[u8]> {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        Some(line)
    };
    let is_http_11 = request_line(next().unwrap_or_default())?;
    let mut found = Found::default();
    let mut lines = 0;
    while let Some(line) = next().filter(|line| !line.is_empty()) {
        lines += 1;
        if lines > lines_max {
            return Err(Fault::HeadTooLarge);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(Fault::Ambiguous("a header is folded over lines"));
        }
        let (name, value) = field(line).ok_or(Fault::Malformed("a header cannot be read"))?;
        found.note(name, value)?;
    }
    found.body(is_http_11)
}

/// Whether the request is HTTP/1.1; else it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault::Malformed("the request line is not `METHOD TARGET HTTP/1.1`"));
    };
    if method.is_empty() || !method.iter().all(is_token) {
        return Err(Fault::Malformed("the method is no token"));
    }
    if !is_visible(target) {
        return Err(Fault::Malformed("the target has a character that no target may have"));
    }
    let is_http_11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ if version.starts_with(b"HTTP/") => return Err(Fault::Version),
        _ => return Err(Fault::Malformed("the request line does not end with a version")),
    };
    match target[0] {
        _ if method == b"CONNECT" => Err(Fault::Tunnel),
        _ if is_path(method, target) => Ok(is_http_11),
        _ if target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://")) => Ok(is_http_11),
        _ => Err(Fault::Malformed("the target is neither a path nor an http URL")),
    }
}

fn is_visible(target: &[u8]) -> bool {
    const VISIBLE: RangeInclusive<u8> = 0x21..=0xff;
    !target.is_empty() && target.iter().all(|b| VISIBLE.contains(b) && !matches!(b, 0x7f | b'#'))
}

fn is_path(method: &[u8], target: &[u8]) -> bool {
    target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS")
}

/// Checks what a request of HTTP/2 says as if it were HTTP/1.1, which it is about to become (RFC 9113 section
/// 10.3); the length that it gives for its body, 0 where it gives none.
///
/// # Errors
/// It could not be read in one way only.
pub fn length_of_converted<'f>(
    (method, path): (&str, &str),
    mut fields: impl Iterator<Item = (&'f str, &'f [u8])>,
) -> Result<u64, Fault> {
    if method == "CONNECT" {
        return Err(Fault::Tunnel);
    }
    if !is_visible(path.as_bytes()) || !is_path(method.as_bytes(), path.as_bytes()) {
        return Err(Fault::Malformed("the target is no path"));
    }
    let mut found = Found::default();
    fields.try_for_each(|(name, value)| found.note(name.as_bytes(), value))?;
    match found.body(true)? {
        Body::Length(length) => Ok(length),
        Body::Chunked => Err(Fault::Ambiguous("Transfer-Encoding in HTTP/2")),
        Body::Upgrade => Err(Fault::Malformed("Upgrade in HTTP/2")),
    }
}

/// Name and value of a header line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let text = |b: &u8| *b == b'\t' || (*b >= 0x20 && *b != 0x7f);
    (!name.is_empty() && name.iter().all(is_token) && line[colon + 1..].iter().all(text))
        .then_some((name, value))
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What the head says about framing and host.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

impl Found {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let repeated = self.length.replace(length(value)?).is_some();
            if repeated {
                return Err(Fault::Ambiguous("Content-Length is repeated"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked {
                return Err(Fault::Ambiguous("Transfer-Encoding is repeated"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Ambiguous("Transfer-Encoding is not `chunked`"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            if std::mem::replace(&mut self.host, true) {
                return Err(Fault::Ambiguous("Host is repeated"));
            }
            if !is_host(value) {
                return Err(Fault::Malformed("Host is not a host with an optional port"));
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            let mut tokens = value.split(|b| *b == b',');
            self.connection_upgrade |= tokens.any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        }
        Ok(())
    }

    fn body(self, is_http_11: bool) -> Result<Body, Fault> {
        if is_http_11 && !self.host {
            return Err(Fault::Malformed("Host is missing"));
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Fault::Ambiguous("both Content-Length and Transfer-Encoding")),
            (None, true) if !is_http_11 => Err(Fault::Ambiguous("Transfer-Encoding in HTTP/1.0")),
            (None, true) => Ok(Body::Chunked),
            (None | Some(0), false) if is_http_11 && self.upgrade && self.connection_upgrade => {
                Ok(Body::Upgrade)
            }
            (length, false) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

fn length(value: &[u8]) -> Result<u64, Fault> {
    let fault = Fault::Ambiguous("Content-Length is not one number");
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(fault);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(fault)
}

/// `host` or `host:port` (RFC 9110 section 7.2, RFC 3986 section 3.2.2), no user, never empty.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|b| *b == b']') {
            Some(end) => {
                let port = &rest[end + 1..];
                let address = rest[..end].iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
                if !address || !(port.is_empty() || port[0] == b':') {
                    return false;
                }
                (&rest[..end], port.get(1..).unwrap_or_default())
            }
            None => return false,
        },
        None => match value.iter().position(|b| *b == b':') {
            Some(colon) => (&value[..colon], &value[colon + 1..]),
            None => (value, &[][..]),
        },
    };
    let name = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+=:".contains(b);
    !host.is_empty() && host.iter().all(name) && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
