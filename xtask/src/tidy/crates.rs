//! Every crate inherits the workspace's lints, and depends only on what lies below it.

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::path::Path;

use super::Fault;

/// What each crate of the product may link, beside crates from elsewhere. Tools are free: `None`.
fn allowed(package: &str, folder: &str) -> Option<Vec<&'static str>> {
    let shell = ["banyan-core", "banyan-runtime", "banyan-store"];
    match package {
        "banyan-core" => Some(vec![]),
        "banyan-runtime" | "banyan-gateway" => Some(vec!["banyan-core", "banyan-runtime"]),
        "banyan-store" => Some(vec!["banyan-core", "banyan-runtime"]),
        _ if folder.starts_with("services/") => Some(shell.to_vec()),
        _ => None,
    }
}

/// Only for tests and tools.
const TOOLS: [&str; 3] = ["banyan-testkit", "banyan-rehearsal", "banyan-bench"];
/// Where tools may be linked.
const MAY_LINK_TOOLS: [&str; 2] = ["banyan-rehearsal", "banyan-bench"];

/// The faults of all crates.
///
/// # Errors
/// Cargo cannot tell them, or a manifest cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Fault>> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root)?;
        let text = std::fs::read_to_string(&package.manifest_path).context(manifest.to_string())?;
        faults.extend(lints(manifest.as_str(), &text));
        faults.extend(directions(manifest.as_str(), package.name.as_str(), &linked(package)));
    }
    Ok(faults)
}

fn linked(package: &Package) -> Vec<String> {
    let ours = |name: &str| name.starts_with("banyan-");
    let dependencies = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    dependencies.map(|d| d.name.clone()).filter(|name| ours(name)).collect()
}

fn directions(manifest: &str, package: &str, linked: &[String]) -> Vec<Fault> {
    let allowed = allowed(package, manifest);
    let mut faults = Vec::new();
    for name in linked {
        if let Some(allowed) = &allowed
            && !allowed.contains(&name.as_str())
        {
            let below = if allowed.is_empty() { "nothing of ours".into() } else { allowed.join(", ") };
            faults.push(Fault::of(manifest, format!("{package} links {name}; it may link {below}")));
        }
        if TOOLS.contains(&name.as_str()) && !MAY_LINK_TOOLS.contains(&package) && allowed.is_none() {
            faults.push(Fault::of(
                manifest,
                format!("{package} links {name}, which is for tests; make it a dev-dependency"),
            ));
        }
    }
    faults
}

fn lints(manifest: &str, text: &str) -> Option<Fault> {
    let inherits = text
        .split("\n[")
        .any(|section| section.starts_with("lints]") && section.contains("workspace = true"));
    (!inherits).then(|| Fault::of(manifest, "does not inherit the lints; add `[lints] workspace = true`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_point_down_only() {
        let check = |manifest: &str, package: &str, linked: &str| {
            directions(manifest, package, &[linked.to_owned()]).len()
        };
        assert_eq!(check("services/notify/Cargo.toml", "banyan-notify", "banyan-store"), 0);
        assert_eq!(check("services/notify/Cargo.toml", "banyan-notify", "banyan-control"), 1);
        assert_eq!(check("crates/core/Cargo.toml", "banyan-core", "banyan-runtime"), 1);
        assert_eq!(check("edge/gateway/Cargo.toml", "banyan-gateway", "banyan-store"), 1);
        assert_eq!(check("services/auth/Cargo.toml", "banyan-auth", "banyan-testkit"), 1);
        assert_eq!(check("banyan/Cargo.toml", "banyan", "banyan-control"), 0);
        assert_eq!(check("banyan/Cargo.toml", "banyan", "banyan-testkit"), 1);
        assert_eq!(check("rehearsal/Cargo.toml", "banyan-rehearsal", "banyan-testkit"), 0);
    }

    #[test]
    fn a_manifest_without_the_lints_is_named() {
        assert_eq!(lints("a/Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), None);
        assert!(
            lints("a/Cargo.toml", "[package]\nname = \"a\"\n\n[dependencies]\nb.workspace = true\n")
                .is_some()
        );
    }
}
