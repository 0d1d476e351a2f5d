//! An SMTP server that keeps every mail: Debian's aiosmtpd with its mailbox handler.

use anyhow::Context as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::deadline::wait_for;
use crate::{Process, free_port};

/// Debian's own interpreter: its packages are not there for another one.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running SMTP server.
#[derive(Debug)]
pub struct Smtp {
    mailbox: PathBuf,
    port: u16,
    process: Process,
}

impl Smtp {
    /// Starts it with its mailbox below the folder.
    ///
    /// # Errors
    /// It does not start; the message holds the end of its log.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let (mailbox, port) = (folder.join("mails"), free_port()?);
        let mut command = Command::new(PYTHON);
        command.args(["-m", "aiosmtpd", "--nosetuid", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--class", "aiosmtpd.handlers.Mailbox"]).arg(&mailbox);
        let process = Process::spawn("smtp", command, folder)?;
        wait_for("the SMTP server's start", PATIENCE, || {
            anyhow::ensure!(process.is_running(), "it has ended:\n{}", process.log_tail(5));
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })
        .context("the SMTP server does not start")?;
        Ok(Self { mailbox, port, process })
    }

    /// The port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// All mails that were accepted, in the order of their arrival.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub fn messages(&self) -> anyhow::Result<Vec<Message>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.mailbox.join("new"))? {
            let path = entry?.path();
            files.push((arrival(&path), path));
        }
        files.sort();
        files.iter().map(|(_, path)| Ok(Message::parse(&fs::read(path)?))).collect()
    }
}

/// Seconds, microseconds and number of a file of a maildir: `SECONDS.MµsP…Qnumber.host`.
fn arrival(path: &Path) -> Option<(u64, u64, u64)> {
    let name = path.file_name()?.to_str()?;
    let (seconds, rest) = name.split_once(".M")?;
    let (micros, rest) = rest.split_once('P')?;
    let number = rest.split_once('Q')?.1.split('.').next()?;
    Some((seconds.parse().ok()?, micros.parse().ok()?, number.parse().ok()?))
}

/// One mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    /// The value of a header, its lines joined, encoded words as they came.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as it came: transfer encodings are not undone.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Reads a mail (RFC 5322).
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines() {
            match (line.strip_prefix([' ', '\t']), headers.last_mut()) {
                (Some(more), Some((_, value))) => {
                    value.push(' ');
                    value.push_str(more.trim());
                }
                _ => {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
        Self { headers, body: body.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, require};
    use std::io::{BufRead as _, BufReader, Write as _};

    fn send(port: u16, mails: &[&str]) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (mut writer, mut reader) = (stream.try_clone().unwrap(), BufReader::new(stream));
        let mut expect = |code: &str| {
            let mut line = format!("{code}-");
            while line.starts_with(&format!("{code}-")) {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            assert!(line.starts_with(code), "{line}");
        };
        expect("220");
        writer.write_all(b"EHLO test\r\n").unwrap();
        expect("250");
        for mail in mails {
            for (command, code) in
                [("MAIL FROM:<a@example.com>", "250"), ("RCPT TO:<b@example.com>", "250"), ("DATA", "354")]
            {
                writer.write_all(format!("{command}\r\n").as_bytes()).unwrap();
                expect(code);
            }
            writer.write_all(format!("{mail}\r\n.\r\n").as_bytes()).unwrap();
            expect("250");
        }
    }

    #[test]
    fn every_mail_is_kept_in_order() {
        let Some(()) = require(Part::Smtp) else { return };
        let folder = tempfile::tempdir().unwrap();
        let server = Smtp::start(folder.path()).unwrap();
        assert_eq!(server.messages().unwrap(), []);
        send(
            server.port(),
            &[
                "X-Notification-Id: 7\r\nSubject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\n\r\none\r\n\r\ntwo: 2",
                "x-notification-id:8\r\n\r\n",
            ],
        );
        let mails = server.messages().unwrap();
        let ids: Vec<_> = mails.iter().map(|mail| mail.header("X-Notification-Id")).collect();
        assert_eq!(ids, [Some("7"), Some("8")]);
        assert_eq!(mails[0].header("subject"), Some("=?utf-8?q?a?= =?utf-8?q?b?="));
        assert!(mails[0].body().contains("one\n\ntwo: 2"), "{:?}", mails[0]);
        assert_eq!(mails[0].header("two"), None);
    }

    #[test]
    fn files_are_sorted_by_number_not_by_text() {
        let name = |n: u64| PathBuf::from(format!("1700000000.M12P34Q{n}.host"));
        assert!(arrival(&name(9)) < arrival(&name(10)));
        assert_eq!(arrival(&name(9)), Some((1_700_000_000, 12, 9)));
    }
}
