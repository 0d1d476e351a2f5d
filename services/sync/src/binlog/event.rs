//! One event of the binlog, checked and named. An event that is not known is an error, never skipped.

use mysql_async::binlog::BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32;
use mysql_async::binlog::events::{Event, QueryEvent, RotateEvent};

/// What an event is for the assembly of transactions.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that matters.
    Nothing,
    /// The format of all events behind this one.
    Format,
    /// The next events stand in this file from this offset on.
    Rotate(String, u64),
    /// A transaction begins.
    Begin,
    /// The next statement is a transaction by itself.
    Standalone,
    /// A table map.
    TableMap,
    /// Rows of a table.
    Rows,
    /// A statement with the schema it ran in.
    Statement(String, String),
    /// The transaction commits.
    Commit,
    /// An XA transaction was prepared; what it wrote is not committed yet.
    XaPrepare,
}

/// The bit of MariaDB's GTID event that says: no COMMIT follows (log_event.h, `FL_STANDALONE`).
const MARIADB_STANDALONE: u8 = 1;
/// Where the flags stand in MariaDB's GTID event: behind the sequence number and the domain.
const MARIADB_FLAGS_AT: usize = 12;

/// Checks an event's checksum and says what it is. Types by number: MySQL's `mysql::binlog::event::
/// Log_event_type` up to 42, MariaDB's own from 160 on.
///
/// # Errors
/// A wrong checksum, an event that cannot be read, or one that Banyan does not know.
pub fn see(event: &Event) -> Result<Seen, String> {
    check_sum(event)?;
    let malformed = |error: std::io::Error| format!("an event cannot be read: {error}");
    let kind = event.header().event_type_raw();
    Ok(match kind {
        2 => {
            let query: QueryEvent<'_> = event.read_event().map_err(malformed)?;
            Seen::Statement(query.schema().into_owned(), query.query().into_owned())
        }
        4 => {
            let rotate: RotateEvent<'_> = event.read_event().map_err(malformed)?;
            Seen::Rotate(rotate.name().into_owned(), rotate.position())
        }
        15 => Seen::Format,
        16 => Seen::Commit,
        19 => Seen::TableMap,
        23..=25 | 30..=32 => Seen::Rows,
        38 => Seen::XaPrepare,
        // The statement behind LOAD DATA, with a few binary fields before its text.
        18 => Seen::Statement(String::new(), String::from_utf8_lossy(event.data()).into_owned()),
        162 => match event.data().get(MARIADB_FLAGS_AT) {
            Some(flags) if flags & MARIADB_STANDALONE != 0 => Seen::Standalone,
            Some(_) => Seen::Begin,
            None => return Err("a GTID event is too short".into()),
        },
        // STOP, INTVAR, RAND, USER_VAR, BEGIN_LOAD_QUERY and APPEND_BLOCK (file contents),
        // HEARTBEAT, IGNORABLE, ROWS_QUERY, GTIDs of MySQL, group replication's contexts, HEARTBEAT v2;
        // MariaDB: ANNOTATE_ROWS, BINLOG_CHECKPOINT, GTID_LIST, START_ENCRYPTION.
        3 | 5 | 9 | 13 | 14 | 17 | 27 | 28 | 29 | 33..=37 | 41 | 42 | 160 | 161 | 163 | 164 => Seen::Nothing,
        26 => return Err("the monolith's server reports an incident: its binlog has a gap".into()),
        39 => return Err("a partial JSON update; set binlog_row_value_options=''".into()),
        40 => return Err("a compressed transaction; set binlog_transaction_compression=OFF".into()),
        165..=171 => return Err("a compressed event; set log_bin_compress=OFF".into()),
        _ => return Err(format!("an event of the unknown type {kind}")),
    })
}

fn check_sum(event: &Event) -> Result<(), String> {
    let checked = event.footer().get_checksum_alg().ok().flatten() == Some(BINLOG_CHECKSUM_ALG_CRC32);
    match event.checksum() {
        Some(sum) if checked && u32::from_le_bytes(sum) != event.calc_checksum(BINLOG_CHECKSUM_ALG_CRC32) => {
            Err("an event's checksum does not fit: it was damaged on its way or on disk".into())
        }
        _ => Ok(()),
    }
}
