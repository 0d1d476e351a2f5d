//! Messages and sockets on the wire: a message is its length in four bytes and JSON; a socket is one byte that
//! carries a descriptor.

use super::{Fault, Message};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: u32 = 1 << 16;
/// The byte that a descriptor travels with.
const CARRIER: u8 = b'f';

/// Sends a message.
pub async fn send(stream: &mut UnixStream, message: &Message) -> Result<(), Fault> {
    let text = serde_json::to_vec(message).map_err(|e| Fault::Io(io::Error::other(e)))?;
    let length = u32::try_from(text.len()).map_err(|e| Fault::Io(io::Error::other(e)))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(text);
    Ok(stream.write_all(&frame).await?)
}

/// The next message. Not to be dropped before it resolves where the connection is used afterwards.
pub async fn receive(stream: &mut UnixStream) -> Result<Message, Fault> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_BYTES_MAX {
        return Err(Fault::Unexpected(format!("a message of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).await?;
    serde_json::from_slice(&text).map_err(|e| Fault::Unexpected(format!("what cannot be read ({e})")))
}

/// Sends a socket; both processes have it then.
pub async fn send_socket(stream: &UnixStream, socket: &TcpListener) -> Result<(), Fault> {
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        Ok(sendmsg(stream, &[IoSlice::new(&[CARRIER])], &mut ancillary, SendFlags::NOSIGNAL)?)
    });
    sent.await?;
    Ok(())
}

/// The next socket.
pub async fn receive_socket(stream: &UnixStream) -> Result<TcpListener, Fault> {
    let received = stream.async_io(Interest::READABLE, || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut carrier = [0];
        let mut into = [IoSliceMut::new(&mut carrier)];
        if recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(ancillary.drain().find_map(first_descriptor))
    });
    let descriptor =
        received.await?.ok_or_else(|| Fault::Unexpected("a socket without a descriptor".into()))?;
    Ok(TcpListener::from(descriptor))
}

fn first_descriptor(message: RecvAncillaryMessage<'_>) -> Option<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }
}
