//! What no line may hold: leftovers, paths of a machine, words that the glossary has another one for.

use super::Fault;

/// Words of other systems, and ours.
const WORDS: [(&str, &str); 5] = [
    ("cutover", "handover"),
    ("tenant", "subject"),
    ("shard", "bucket"),
    ("failback", "rollback"),
    ("strangler", "monolith"),
];
/// Of three kinds of epoch, a name says which one.
const EPOCHS: [&str; 3] = ["owner", "lease", "session"];
/// Files that must name what they forbid or explain.
const EXEMPT: [&str; 2] = ["xtask/src/tidy/lines.rs", "README.md"];

/// The faults of one file.
pub fn check(file: &str, text: &str) -> Vec<Fault> {
    if EXEMPT.contains(&file) || file.ends_with(".lock") {
        return Vec::new();
    }
    let code = file.ends_with(".rs");
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut fault = |what: String| faults.push(Fault::at(file, index + 1, what));
        leftovers(line).into_iter().for_each(&mut fault);
        if code {
            words(line).into_iter().for_each(&mut fault);
        }
    }
    faults
}

fn leftovers(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
        found.push("a merge marker; resolve it".to_owned());
    }
    if line.ends_with(' ') || line.ends_with('\t') {
        found.push("white space at the end; remove it".to_owned());
    }
    for mark in ["TODO", "FIXME", "XXX:"] {
        if line.contains(mark) {
            found.push(format!("`{mark}`; finish it or file an issue"));
        }
    }
    for folder in ["/work/", "/home/", "/root/"] {
        let absolute = |at: usize| {
            at == 0 || !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}~*".contains(c))
        };
        if line.match_indices(folder).any(|(at, _)| absolute(at)) {
            found.push(format!("`{folder}` is a path of one machine; make it relative"));
        }
    }
    found
}

fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let parts: Vec<String> = word.split('_').map(str::to_lowercase).collect();
        for (other, ours) in WORDS {
            if parts.iter().any(|part| part == other) {
                found.push(format!("`{other}`; the glossary's word is `{ours}`"));
            }
        }
    }
    if let Some(what) = bare_epoch(line) {
        found.push(format!("{what}: say which one, {} epoch", EPOCHS.join(", ")));
    }
    found
}

/// An epoch of no kind, in a comment or as a public field. Locals have their types beside them.
fn bare_epoch(line: &str) -> Option<String> {
    let line = line.trim();
    let kinds = EPOCHS.map(|kind| [format!("{kind} epoch"), format!("{kind}'s epoch")]).concat();
    let prose = line.starts_with("//").then(|| line.to_lowercase());
    if let Some(prose) = prose {
        let word = prose.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "epoch");
        return (word && !kinds.iter().any(|kind| prose.contains(kind))).then(|| "a bare `epoch`".to_owned());
    }
    let (name, _) = line.strip_prefix("pub ")?.split_once(':')?;
    let field = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let bare = name == "epoch" || name.ends_with("_epoch");
    let named = EPOCHS.iter().any(|kind| name.ends_with(&format!("{kind}_epoch")));
    (field && bare && !named).then(|| format!("the field `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, line: &str) -> Vec<String> {
        check(file, line).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn leftovers_are_found_in_every_file() {
        for (line, named) in [
            ("x ", "a.md:1: white space"),
            ("<<<<<<< HEAD", "merge marker"),
            ("// TODO later", "`TODO`"),
            ("cd /work/main", "`/work/`"),
            ("see \"/root/x\"", "`/root/`"),
        ] {
            let faults = found("a.md", line);
            assert!(faults.len() == 1 && faults[0].contains(named), "{line}: {faults:?}");
        }
        for line in ["src/work/mod.rs", "~/root/", "plain", "${BASE}/home/x"] {
            assert_eq!(found("a.md", line), [""; 0], "{line}");
        }
    }

    #[test]
    fn names_use_the_words_of_the_glossary() {
        for (line, named) in [
            ("let cutover = 1;", "handover"),
            ("fn tenant_of() {}", "subject"),
            ("    pub epoch: u64,", "which one"),
            ("    pub max_epoch: u64,", "which one"),
            ("/// In another epoch.", "which one"),
        ] {
            let faults = found("a.rs", line);
            assert!(faults.len() == 1 && faults[0].contains(named), "{line}: {faults:?}");
        }
        for line in [
            "    pub owner_epoch: u64,",
            "// the owner epoch of it",
            "// by `next_epoch`",
            "//! in the owner's epoch",
            "let epoch = OwnerEpoch(3);",
            "shared(1)",
            "SessionEpoch",
        ] {
            assert_eq!(found("a.rs", line), [""; 0], "{line}");
        }
    }
}
