//! The documents hold together: links lead somewhere, every page is in the book, and what is said to be complete is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const TUNING: &str = include_str!("../../docs/tuning.md");

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files of a directory.
fn pages(dir: &Path) -> Vec<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "documents of the repository")]
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .collect()
}

/// What `](…)` leads to, outside of code.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let found = prose.flat_map(|prose| prose.split("](").skip(1));
    found.filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.trim().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// True where a link from `page` leads to something; of what is not in the repository nothing is known.
fn leads_somewhere(page: &Path, link: &str) -> bool {
    if link.contains("://") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        page.to_owned()
    } else {
        page.parent().unwrap().join(file)
    };
    target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let places = ["", "docs", "wal", "failpoints", "recovery", "cli"];
    let beside = ["integrations/object-store", "integrations/datafusion"];
    let places = places.into_iter().chain(beside);
    let pages: Vec<_> = places.flat_map(|dir| pages(&top().join(dir))).collect();
    assert!(pages.len() > 20, "{pages:?}");
    let mut dead = Vec::new();
    for page in &pages {
        let text = read(page);
        let of_page = links(&text).into_iter();
        let bad = of_page.filter(|link| !leads_somewhere(page, link));
        dead.extend(bad.map(|link| format!("{}: {link}", page.display())));
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = top().join("docs/format.md");
    assert!(leads_somewhere(&page, "operations.md#disk-full"));
    assert!(leads_somewhere(&page, "#versions"));
    assert!(!leads_somewhere(&page, "operations.md#disk-empty"));
    assert!(!leads_somewhere(&page, "operation.md"));
    assert_eq!(
        links("[a](b.md), `c`\n```text\n[d](e)\n```\n[f](#g)"),
        ["b.md", "#g"]
    );
}

/// The book is made of what SUMMARY.md names, and of nothing else.
#[test]
fn every_page_is_in_the_book() {
    let summary = read(&top().join("docs/SUMMARY.md"));
    let in_the_book: BTreeSet<_> = links(&summary).into_iter().collect();
    for page in pages(&top().join("docs")) {
        let name = page.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(
            name == "SUMMARY.md" || in_the_book.contains(name.as_str()),
            "docs/SUMMARY.md leaves {name} out"
        );
    }
}

/// The names before `end` of lines that begin with `begin`.
fn names<'a>(source: &'a str, begin: &str, end: char) -> Vec<&'a str> {
    let lines = source.lines().filter_map(|line| line.strip_prefix(begin));
    let mut names: Vec<_> = lines
        .filter_map(|line| line.split_once(end).map(|(name, _)| name))
        .collect();
    names.retain(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    names
}

#[test]
fn operations_say_what_to_do_about_every_kind_of_error() {
    let source = read(&top().join("src/error.rs"));
    let (_, body) = source.split_once("pub enum ErrorKind {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let kinds = names(body, "    ", ',');
    assert!(kinds.len() >= 11, "{kinds:?}");
    for kind in kinds {
        assert!(
            OPERATIONS.contains(&format!("\n| `{kind}` |")),
            "docs/operations.md has no row for ErrorKind::{kind}"
        );
    }
}

#[test]
fn tuning_says_when_to_change_every_option() {
    for (file, least) in [("src/options.rs", 23), ("src/blocks/options.rs", 7)] {
        let source = read(&top().join(file));
        let setters = names(&source, "    pub fn ", '(');
        let setters: Vec<_> = setters.into_iter().filter(|name| *name != "new").collect();
        assert!(setters.len() >= least, "{file}: {setters:?}");
        for setter in setters {
            assert!(
                TUNING.contains(&format!("\n**`{setter}`**:")),
                "docs/tuning.md has nothing about {setter} of {file}"
            );
        }
    }
}
