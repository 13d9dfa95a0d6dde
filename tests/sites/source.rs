//! The fault sites that the source names.

use std::path::{Path, PathBuf};

/// Where the code is, and what its modules are called from outside.
const ROOTS: [(&str, &str); 3] = [
    ("src", ""),
    ("wal/src", "wal::"),
    ("recovery/src", "recovery::"),
];

/// All names, sorted; a name used twice is there twice.
pub(crate) fn sites() -> Vec<String> {
    let mut names: Vec<String> = sites_by_file().into_iter().map(|(_, site)| site).collect();
    names.sort();
    names
}

/// File, relative to the workspace, and name of each site.
pub(crate) fn sites_by_file() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (root, _) in ROOTS {
        for file in rust_files(&top.join(root)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let shown = file.strip_prefix(top).expect("below the workspace");
            let names = names_in(&text).map(|name| (shown.display().to_string(), name));
            found.extend(names);
        }
    }
    found
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the source is not a cache's file"
    )]
    let entries = std::fs::read_dir(dir).expect("a source directory");
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files
}

/// The first string behind each `site!(`.
fn names_in(text: &str) -> impl Iterator<Item = String> {
    text.split("site!(").skip(1).map(|rest| {
        let mut parts = rest.split('"');
        assert_eq!(
            parts.next().map(str::trim),
            Some(""),
            "a site's name is a literal"
        );
        parts.next().expect("a name").to_owned()
    })
}

/// The module of a file: `wal/src/repair/closing.rs` is `wal::repair::closing`.
pub(crate) fn module_of(file: &str) -> String {
    let (root, name) = ROOTS
        .iter()
        .filter(|(root, _)| file.starts_with(&format!("{root}/")))
        .max_by_key(|(root, _)| root.len())
        .expect("a file of ours");
    let path = file[root.len() + 1..].trim_end_matches(".rs");
    format!("{name}{}", path.trim_end_matches("/mod").replace('/', "::"))
}
