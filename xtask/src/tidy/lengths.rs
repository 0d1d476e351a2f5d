//! A file has at most 500 lines, a function at most 70.

use super::Fault;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CODE: [&str; 5] = ["rs", "php", "sh", "js", "css"];

/// The faults of one file.
pub fn check(file: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let ending = file.rsplit('.').next().unwrap_or_default();
    let lines = text.lines().count();
    if CODE.contains(&ending) && lines > FILE_LINES_MAX {
        let what = format!("{lines} lines, allowed are {FILE_LINES_MAX}; split it by noun or by command");
        faults.push(Fault::of(file, what));
    }
    if ending == "rs" {
        faults.extend(functions(file, text));
    }
    faults
}

/// Functions end at the first line that closes a brace at their own indentation: the sources are formatted.
fn functions(file: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
        let indentation = &line[..line.len() - line.trim_start().len()];
        let closes = |line: &&str| line.strip_prefix(indentation).is_some_and(|rest| rest.starts_with('}'));
        let declared =
            lines[start..].iter().position(|line| line.trim_end().ends_with(';') && !line.contains('{'));
        let Some(length) = lines[start..].iter().position(closes) else { continue };
        let has_body = lines[start].ends_with('{') || declared.is_none_or(|end| end > body(&lines[start..]));
        if has_body && length + 1 > FUNCTION_LINES_MAX {
            let what = format!(
                "a function of {} lines, allowed are {FUNCTION_LINES_MAX}; give its steps names",
                length + 1
            );
            faults.push(Fault::at(file, start + 1, what));
        }
    }
    faults
}

/// Where the body opens.
fn body(lines: &[&str]) -> usize {
    lines.iter().position(|line| line.trim_end().ends_with('{')).unwrap_or(usize::MAX)
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    words.find(|word| !modifiers.contains(word)) == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!(
            "    pub async fn long(\n        &self,\n    ) -> u8 {{\n{}    }}\n",
            "        step();\n".repeat(lines - 4)
        )
    }

    #[test]
    fn a_long_file_is_named() {
        assert_eq!(check("a.rs", &"\n".repeat(500)), []);
        assert!(check("a.rs", &"\n".repeat(501))[0].to_string().starts_with("a.rs: 501 lines"));
        assert_eq!(check("a.md", &"\n".repeat(501)), []);
    }

    #[test]
    fn a_long_function_is_named_by_its_first_line() {
        assert_eq!(check("a.rs", &function(70)), []);
        let text = format!("impl A {{\n{}}}\n", function(71));
        assert!(check("a.rs", &text)[0].to_string().starts_with("a.rs:2: a function of 71 lines"));
    }

    #[test]
    fn a_declaration_has_no_length() {
        let text = format!(
            "trait A {{\n    fn b(\n        &self,\n    );\n{}}}\n",
            "    const C: u8 = 1;\n".repeat(80)
        );
        assert_eq!(check("a.rs", &text), []);
    }
}
