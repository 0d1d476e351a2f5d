//! Where log lines go: to standard error, those of the access log in batches.
//!
//! A line per request, written by itself, costs a worker as much as sending the answer. So lines of the target
//! `access` wait in memory, in their order with all others, for at most a quarter of a second or 64 KiB; a
//! process that is killed loses those. Every other line is written at once, and takes what waits along.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The target of the lines that wait.
const TARGET: &str = "access";
/// How long a line may wait.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// How many bytes may wait.
const BATCH_BYTES: usize = 64 << 10;

/// What waits for standard error.
static STANDARD_ERROR: OnceLock<Batch<io::Stderr>> = OnceLock::new();

/// Writes what waits.
pub fn flush() {
    if let Some(batch) = STANDARD_ERROR.get() {
        batch.flush();
    }
}

/// Gives each log line its writer.
pub struct Lines(&'static Batch<io::Stderr>);

impl Lines {
    /// Lines to standard error; starts the thread that writes those that wait.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start() -> io::Result<Self> {
        let mut first = false;
        let batch = STANDARD_ERROR.get_or_init(|| {
            first = true;
            Batch::new(io::stderr())
        });
        if first {
            // No task of the supervisor: lines are written to the last, also while it stops.
            thread::Builder::new().name("access-log".into()).spawn(|| batch.keep_flushing())?;
        }
        Ok(Self(batch))
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Line<'static, io::Stderr>;

    fn make_writer(&self) -> Self::Writer {
        Line { batch: self.0, waits: false }
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Self::Writer {
        Line { batch: self.0, waits: meta.target() == TARGET }
    }
}

/// Writes one line, which comes as one piece.
pub struct Line<'b, W> {
    batch: &'b Batch<W>,
    waits: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.batch.write(line, self.waits)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Batch<W> {
    waiting: Mutex<Waiting<W>>,
    begun: Condvar,
}

struct Waiting<W> {
    bytes: Vec<u8>,
    out: W,
}

impl<W: Write> Waiting<W> {
    fn write_out(&mut self) -> io::Result<()> {
        let outcome = self.out.write_all(&self.bytes);
        // Where it failed the lines are lost, as they would be one by one.
        self.bytes.clear();
        outcome
    }
}

impl<W: Write> Batch<W> {
    fn new(out: W) -> Self {
        let waiting = Waiting { bytes: Vec::with_capacity(2 * BATCH_BYTES), out };
        Self { waiting: Mutex::new(waiting), begun: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<W>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &[u8], waits: bool) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.bytes.is_empty() && waits {
            self.begun.notify_one();
        }
        waiting.bytes.extend_from_slice(line);
        if waits && waiting.bytes.len() < BATCH_BYTES { Ok(()) } else { waiting.write_out() }
    }

    fn flush(&self) {
        // Nobody is left to tell that standard error is gone.
        let _ = self.lock().write_out();
    }

    /// Writes what has waited long enough, for as long as the process lasts.
    fn keep_flushing(&self) {
        loop {
            let waiting = self.lock();
            drop(self.begun.wait_while(waiting, |waiting| waiting.bytes.is_empty()));
            thread::sleep(WAIT_MAX);
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(batch: &Batch<Vec<u8>>) -> String {
        String::from_utf8(batch.lock().out.clone()).unwrap()
    }

    #[test]
    fn lines_of_the_access_log_wait_and_keep_their_place() {
        let batch = Batch::new(Vec::new());
        batch.write(b"request 1\n", true).unwrap();
        assert_eq!(written(&batch), "");
        batch.write(b"error\n", false).unwrap();
        assert_eq!(written(&batch), "request 1\nerror\n");
        batch.write(b"request 2\n", true).unwrap();
        batch.flush();
        batch.flush();
        assert_eq!(written(&batch), "request 1\nerror\nrequest 2\n");
    }

    #[test]
    fn no_more_than_a_batch_waits() {
        let (batch, line) = (Batch::new(Vec::new()), [b'x'; 1024]);
        for _ in 0..BATCH_BYTES / line.len() - 1 {
            batch.write(&line, true).unwrap();
        }
        assert_eq!(written(&batch).len(), 0);
        batch.write(&line, true).unwrap();
        assert_eq!((written(&batch).len(), batch.lock().bytes.len()), (BATCH_BYTES, 0));
    }

    #[test]
    fn what_waits_is_written_without_another_line() {
        let batch: &'static Batch<Vec<u8>> = Box::leak(Box::new(Batch::new(Vec::new())));
        thread::spawn(|| batch.keep_flushing());
        batch.write(b"alone\n", true).unwrap();
        let deadline = crate::clock::Boot::now().plus(Duration::from_secs(60));
        while written(batch).is_empty() {
            assert!(crate::clock::Boot::now() < deadline, "the line was never written");
            thread::yield_now();
        }
        assert_eq!(written(batch), "alone\n");
    }
}
