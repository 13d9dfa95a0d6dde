//! What the library refuses, in the words of who said it: it knows no flags, no variables and no files.

use crate::failure::Failure;
use crate::size::ByteSize;

use super::{Config, Source};

/// The library's name for an option, and what it is called here.
const OPTIONS: [(&str, &str); 5] = [
    ("capacity_bytes", "capacity"),
    ("segment_bytes", "segment"),
    ("tail_bytes", "tail"),
    ("tail_dir", "tail_dir"),
    ("pinned_percent", "pinned_percent"),
];

impl Source {
    /// A setting's name, as this one says it.
    pub(crate) fn name_of(&self, setting: &str) -> String {
        let shown = setting.replace('_', " ");
        match self {
            Self::Flag => format!("--{}", setting.replace('_', "-")),
            Self::Environment => format!("PERENNIAL_{}", setting.to_uppercase()),
            Self::File(path) => format!("{setting} in {}", path.display()),
            Self::Cache => format!("the cache's {shown}"),
            Self::Default => format!("the default {shown}"),
        }
    }
}

impl Config {
    /// Of an open of this configuration; `there` is true for a cache that has its segments and its tail already.
    pub(crate) fn refused(&self, error: perennial::Error, there: bool) -> Failure {
        if error.kind() != perennial::ErrorKind::Invalid {
            return error.into();
        }
        let message = error.to_string();
        let named = OPTIONS.iter().find_map(|(option, setting)| {
            let rest = message.strip_prefix(option)?.strip_prefix(" is ")?;
            let name = self.source_of(setting, there).name_of(setting);
            let in_bytes = option.ends_with("_bytes");
            Some(format!(
                "{name} is {}",
                if in_bytes {
                    with_unit(rest)
                } else {
                    rest.to_owned()
                }
            ))
        });
        named.map_or_else(|| error.into(), Failure::Refused)
    }

    fn source_of(&self, setting: &str, there: bool) -> Source {
        let fixed = there && ["segment", "tail", "tail_dir"].contains(&setting);
        let said = match setting {
            _ if fixed => Some(Source::Cache),
            "capacity" => self.capacity_said().map(|said| said.source),
            "segment" => self.segment().map(|said| said.source),
            "tail" => self.tail().map(|said| said.source),
            "tail_dir" => self.tail_dir().map(|said| said.source),
            _ => Some(self.pinned_percent().source),
        };
        said.unwrap_or(Source::Default)
    }
}

/// The same text, with a size at its beginning as people write it.
fn with_unit(text: &str) -> String {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    match number.parse() {
        Ok(bytes) => format!("{}{rest}", ByteSize(bytes).said()),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_said_it_is_named() {
        for (source, name) in [
            (Source::Flag, "--tail-dir"),
            (Source::Environment, "PERENNIAL_TAIL_DIR"),
            (Source::File("a/b.toml".into()), "tail_dir in a/b.toml"),
            (Source::Cache, "the cache's tail dir"),
            (Source::Default, "the default tail dir"),
        ] {
            assert_eq!(source.name_of("tail_dir"), name);
        }
    }

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(with_unit("4096; choose"), "4KiB; choose");
        assert_eq!(with_unit("1001, more"), "1001 bytes, more");
        assert_eq!(with_unit("lots"), "lots");
    }
}
