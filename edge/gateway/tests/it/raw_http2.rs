//! A client of HTTP/2 that writes frames by hand, so that it can write wrong ones (RFC 9113, RFC 7541).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::PATIENCE;
use crate::secure::Authority;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A frame that has come.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Answered(u16),
    /// The stream was reset.
    Reset,
    /// The connection was ended.
    Gone,
}

/// The client.
pub struct RawHttp2 {
    stream: TlsStream<TcpStream>,
    statuses: BTreeMap<u32, u16>,
}

impl RawHttp2 {
    /// Connects; `settings` is the payload of the first frame.
    pub async fn open(authority: &Authority, to: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = authority.connect(to, ("shop.example", &["h2"])).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut client = Self { stream, statuses: BTreeMap::new() };
        client.write((SETTINGS, 0, 0), settings).await;
        client
    }

    /// Writes a frame: kind, flags, stream. Where the other side has closed, nothing happens.
    pub async fn write(&mut self, (kind, flags, stream): (u8, u8, u32), payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }

    /// Opens a stream with these fields as they are, in this order.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal without indexing and without Huffman coding (RFC 7541 section 6.2.2).
            block.push(0);
            for text in [name, value] {
                write_length(&mut block, text.len());
                block.extend(text.bytes());
            }
        }
        self.write((HEADERS, END_HEADERS | flags, stream), &block).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        let frame = tokio::time::timeout(PATIENCE, read).await.expect("a frame in time")?;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.write((SETTINGS, ACK, 0), &[]).await,
            PING if frame.flags & ACK == 0 => self.write((PING, ACK, 0), &frame.payload).await,
            HEADERS => {
                if let Some(status) = status(&frame.payload) {
                    self.statuses.insert(frame.stream, status);
                }
            }
            _ => {}
        }
        Some(frame)
    }

    /// Waits for the end of a stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some(frame) = self.next().await else { return Outcome::Gone };
            if frame.stream != stream {
                if frame.kind == GOAWAY && frame.payload[4..8] != [0; 4] {
                    return Outcome::Gone;
                }
                continue;
            }
            match frame.kind {
                RST_STREAM => {
                    return self.statuses.get(&stream).map_or(Outcome::Reset, |s| Outcome::Answered(*s));
                }
                DATA | HEADERS if frame.flags & END_STREAM != 0 => {
                    return Outcome::Answered(self.statuses[&stream]);
                }
                _ => {}
            }
        }
    }
}

fn write_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(length as u8);
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The status at the beginning of a block: from the static table, or a literal whose digits are Huffman coded.
fn status(block: &[u8]) -> Option<u16> {
    // A new size of the table may come first (RFC 7541 section 6.3).
    let block = if block.first()? & 0xe0 == 0x20 { &block[1..] } else { block };
    let first = *block.first()?;
    if (0x88..=0x8e).contains(&first) {
        return Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)]);
    }
    if first & 0x0f != 8 && first != 0x48 {
        return None;
    }
    let (is_huffman, length) = (block.get(1)? & 0x80 != 0, usize::from(block[1] & 0x7f));
    let text = block.get(2..2 + length)?;
    if !is_huffman {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let bits: String = text.iter().map(|b| format!("{b:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        // `0`, `1` and `2` have five bits, the other digits six (RFC 7541 appendix B).
        let five = u16::from_str_radix(bits.get(at..at + 5)?, 2).ok()?;
        let (digit, length) = if five < 3 {
            (five, 5)
        } else {
            (u16::from_str_radix(bits.get(at..at + 6)?, 2).ok()? - 0b01_1001 + 3, 6)
        };
        number = number * 10 + digit;
        at += length;
    }
    Some(number)
}
