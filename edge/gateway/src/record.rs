//! The durable record of writes that this gateway has acknowledged for services and that the monolith may not
//! have: what a forced rollback counts where the service's outbox cannot be read.
//!
//! An append-only file of JSON lines, written by a thread of its own: whatever waits becomes one `fdatasync`,
//! and an answer leaves after it. A line is dead once reverse has passed its position; a file of mostly dead
//! lines is written anew. Invariants: what was acknowledged stands in the file until the monolith has it; a
//! line that a crash cut short was never acknowledged and is dropped. Where the file cannot be written the
//! client is told that the outcome is unknown.

use banyan_core::Bucket;
use banyan_core::protocol::exposure::{ANSWERS_LISTED_MAX, AnsweredWrite, Answers, Reversed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Gateways that can share a data folder.
const FILES_MAX: usize = 16;
/// Answers that wait for the disk before those who have one have to.
const QUEUE_MAX: usize = 4096;
/// Lines that are written with one `fdatasync`.
const BATCH_MAX: usize = 512;
/// Dead lines from which on a file is written anew, if they are more than the others.
const DEAD_MAX: usize = 20_000;

/// The record; clones share it.
#[derive(Clone, Debug)]
pub struct Record {
    id: Arc<str>,
    queue: mpsc::Sender<Job>,
    live: Arc<Mutex<Live>>,
    ended: watch::Sender<bool>,
}

/// Writes that the monolith may not have, by capability.
type Live = BTreeMap<String, VecDeque<AnsweredWrite>>;

#[derive(Debug)]
struct Job {
    line: Line,
    done: oneshot::Sender<io::Result<()>>,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    capability: String,
    #[serde(flatten)]
    write: AnsweredWrite,
}

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    record: String,
}

struct Writer {
    path: PathBuf,
    file: File,
    id: Arc<str>,
    live: Arc<Mutex<Live>>,
    /// Lines in the file.
    lines: usize,
    /// A write has failed: half a line may be at the end.
    is_torn: bool,
}

impl Record {
    /// Opens the first record of the folder that no other gateway has open, or makes one.
    ///
    /// # Errors
    /// The folder or the file cannot be used.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for number in 0..FILES_MAX {
            let path = folder.join(format!("gateway-answers-{number}.log"));
            let lock = File::create(path.with_extension("lock"))?;
            match lock.try_lock() {
                Ok(()) => return Self::start(path, lock),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{FILES_MAX} gateways share the folder already")))
    }

    fn start(path: PathBuf, lock: File) -> io::Result<Self> {
        let (id, lines) = read(&path)?;
        let id: Arc<str> = id.unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string()).into();
        let mut live = Live::new();
        for line in lines {
            live.entry(line.capability).or_default().push_back(line.write);
        }
        let live = Arc::new(Mutex::new(live));
        // Written anew: a line that was cut short is gone, and nothing stands behind it.
        let (file, lines) = rewrite(&path, &id, &live)?;
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let writer =
            Writer { path, file, id: Arc::clone(&id), live: Arc::clone(&live), lines, is_torn: false };
        let work = move || {
            let _lock = lock;
            writer.run(jobs);
        };
        std::thread::Builder::new().name("gateway answers".into()).spawn(work)?;
        Ok(Self { id, queue, live, ended: watch::channel(false).0 })
    }

    /// What names it, across restarts.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Notes a write that is about to be acknowledged.
    ///
    /// # Errors
    /// It is not known to be durable: it must not be acknowledged.
    pub async fn note(&self, capability: &str, write: AnsweredWrite) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let line = Line { capability: capability.to_owned(), write };
        let ended = || io::Error::other("the record is closed");
        self.queue.send(Job { line, done }).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }

    /// The monolith holds the outbox of a capability up to there.
    pub fn passed(&self, capability: &str, reversed: &Reversed) {
        if let Some(writes) = self.lock().get_mut(capability) {
            writes.retain(|write| !write.is_in(reversed));
        }
    }

    /// What a forced rollback of the capability is told.
    pub fn answers(&self, capability: &str) -> Answers {
        let live = self.lock();
        let Some(writes) = live.get(capability) else { return Answers::default() };
        let listed = writes.iter().take(ANSWERS_LISTED_MAX).cloned().collect();
        let mut more: BTreeMap<Bucket, u64> = BTreeMap::new();
        for write in writes.iter().skip(ANSWERS_LISTED_MAX) {
            *more.entry(write.bucket).or_default() += 1;
        }
        Answers { listed, more: more.into_iter().collect() }
    }

    /// Whether the monolith has everything that was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.lock().values().all(VecDeque::is_empty)
    }

    /// Nothing more is acknowledged.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Resolves when nothing more is acknowledged.
    pub async fn ended(&self) {
        // The sender lives as long as this value.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            let written = self.write(&batch);
            for Job { done, .. } in batch {
                let outcome =
                    written.as_ref().map_or_else(|e| Err(io::Error::other(e.to_string())), |()| Ok(()));
                // Whoever has gone away is told nothing, and neither is its client.
                let _ = done.send(outcome);
            }
        }
    }

    /// Into the file, then among the live: what is listed is durable.
    fn write(&mut self, batch: &[Job]) -> io::Result<()> {
        let mut text = Vec::new();
        for job in batch {
            serde_json::to_writer(&mut text, &job.line)?;
            text.push(b'\n');
        }
        if self.is_torn {
            // Half a line would spoil the next one.
            (self.file, self.lines) = rewrite(&self.path, &self.id, &self.live)?;
            self.is_torn = false;
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            tracing::error!(%error, "acknowledged writes cannot be noted");
            self.is_torn = true;
            return Err(error);
        }
        self.lines += batch.len();
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        for Job { line, .. } in batch {
            live.entry(line.capability.clone()).or_default().push_back(line.write.clone());
        }
        let dead = self.lines.saturating_sub(live.values().map(VecDeque::len).sum());
        drop(live);
        if dead > DEAD_MAX && dead * 2 > self.lines {
            match rewrite(&self.path, &self.id, &self.live) {
                Ok(fresh) => (self.file, self.lines) = fresh,
                // The batch is durable in the file that is there.
                Err(error) => tracing::warn!(%error, "the record of acknowledged writes stays long"),
            }
        }
        Ok(())
    }
}

/// The id and the whole lines of a file.
fn read(path: &Path) -> io::Result<(Option<String>, Vec<Line>)> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, Vec::new())),
        Err(error) => return Err(error),
    };
    let mut lines = text.split(|byte| *byte == b'\n');
    let head = lines.next().and_then(|line| serde_json::from_slice::<Head>(line).ok());
    let lines = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Ok((head.map(|head| head.record), lines))
}

/// Writes the live lines to a new file in place of the old one; how many there are.
fn rewrite(path: &Path, id: &str, live: &Mutex<Live>) -> io::Result<(File, usize)> {
    let mut text = serde_json::to_vec(&Head { record: id.to_owned() })?;
    text.push(b'\n');
    let mut count = 0;
    for (capability, writes) in live.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for write in writes {
            serde_json::to_writer(&mut text, &Line { capability: capability.clone(), write: write.clone() })?;
            text.push(b'\n');
            count += 1;
        }
    }
    let fresh = path.with_extension("new");
    let folder = path.parent().map(File::open).transpose()?;
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    // From here on this is the file: no error may keep its writer at the old one.
    if let Some(Err(error)) = folder.map(|folder| folder.sync_all()) {
        tracing::error!(%error, "the folder of the record of acknowledged writes is not synced");
    }
    Ok((file, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(position: u64) -> AnsweredWrite {
        AnsweredWrite {
            bucket: Bucket::of("7"),
            route: "POST /a".into(),
            at_ms: 1,
            reference: Some(format!("token {position}")),
            incarnation: "i".into(),
            position,
        }
    }

    fn positions(record: &Record) -> Vec<u64> {
        record.answers("mail").listed.iter().map(|write| write.position).collect()
    }

    #[tokio::test]
    async fn what_was_noted_is_there_after_a_crash_until_reverse_has_passed_it() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::open(folder.path()).unwrap();
        for position in 1..=3 {
            record.note("mail", write(position)).await.unwrap();
        }
        record.passed("mail", &Reversed { incarnation: "i".into(), position: 1 });
        record.passed("mail", &Reversed { incarnation: "another".into(), position: 9 });
        assert_eq!(positions(&record), [2, 3]);
        // As a crash leaves it: the lock is gone, and the last line was cut short.
        let path = folder.path().join("gateway-answers-0.log");
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(br#"{"capability":"mail","buck"#);
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("gateway-answers-0.log"), torn).unwrap();
        let again = Record::open(other.path()).unwrap();
        assert_eq!((again.id(), positions(&again)), (record.id(), vec![1, 2, 3]));
        again.note("mail", write(4)).await.unwrap();
        assert_eq!(positions(&again), [1, 2, 3, 4]);
    }

    #[test]
    fn a_line_that_could_not_be_written_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.log");
        let live = Arc::new(Mutex::new(Live::new()));
        let (_, lines) = rewrite(&path, "r", &live).unwrap();
        let job = |position| Job {
            line: Line { capability: "mail".into(), write: write(position) },
            done: oneshot::channel().0,
        };
        // What a full disk leaves: half a line, and a file that takes nothing more.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"capability\"").unwrap();
        let file = File::open(&path).unwrap();
        let mut writer = Writer { path: path.clone(), file, id: "r".into(), live, lines, is_torn: false };
        assert!(writer.write(&[job(1)]).is_err());
        writer.write(&[job(2)]).unwrap();
        writer.write(&[job(3)]).unwrap();
        let noted: Vec<u64> = read(&path).unwrap().1.iter().map(|line| line.write.position).collect();
        assert_eq!(noted, [2, 3]);
    }

    #[tokio::test]
    async fn gateways_that_share_a_folder_have_records_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Record::open(folder.path()).unwrap(), Record::open(folder.path()).unwrap());
        assert_ne!(one.id(), other.id());
        assert!(one.is_empty());
    }
}
