//! Where and how the rehearsal ran.

use banyan_runtime::clock;
use std::path::Path;

use crate::scorecard::Scorecard;

/// Name and value of each fact.
pub fn facts(card: &Scorecard) -> Vec<(&'static str, String)> {
    let build = if cfg!(debug_assertions) { "debug: slower than a release" } else { "release" };
    vec![
        ("when", when()),
        ("command", command()),
        ("seed", card.seed.to_string()),
        ("duration", format!("{:.0} s, starting, seeding and audit included", card.seconds)),
        ("machine", machine()),
        ("load", load()),
        ("build", format!("banyan {}, {build}", env!("CARGO_PKG_VERSION"))),
        (
            "monolith",
            "Laravel on PHP-FPM, nginx and MariaDB, all on this machine, as are the customers".into(),
        ),
    ]
}

fn when() -> String {
    let now = i64::try_from(clock::unix_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    now.map_or_else(|| "unknown".into(), |now| now.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn command() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    words.fold(name, |command, word| format!("{command} {word}"))
}

/// What else kept the processors busy shows here.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match text.split(' ').nth(1) {
        Some(load) => {
            format!("{load} processes wanted to run in the last five minutes, this rehearsal's included")
        }
        None => "unknown".into(),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let of = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = of("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let kib = of("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory = kib.map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / f64::from(1 << 20)));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}{memory}, Linux {}", kernel.trim())
}
