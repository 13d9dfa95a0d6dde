//! Settings in TOML: the cache's own file, and the user's.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{Dir, Fs, OpenMode, write_all_at};

use super::settings::Settings;
use crate::failure::Failure;
use crate::size::ByteSize;

/// In the cache's directory, where the library leaves it alone: nothing else on disk says what the capacity is.
const OWN_NAME: &str = "perennial.toml";
const TEMPORARY_NAME: &str = "perennial.toml.tmp";
/// What a `create` may leave that was killed before there was a cache.
pub(crate) const OWN_NAMES: [&str; 2] = [OWN_NAME, TEMPORARY_NAME];
const OWN_HEADING: &str =
    "# How the command `perennial` opens this cache; `perennial resize` changes the capacity.\n";

/// The settings in the file, if it is there.
fn read_if_there(path: &Path) -> Result<Option<Settings>, Failure> {
    let text = text_if_there(path)?;
    text.map(|text| parse(path, &text)).transpose()
}

#[expect(clippy::disallowed_methods, reason = "a file of the user's")]
fn text_if_there(path: &Path) -> Result<Option<String>, Failure> {
    use io::ErrorKind::{NotADirectory, NotFound};
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // A home that is a file has no files below it.
        Err(error) if [NotFound, NotADirectory].contains(&error.kind()) => return Ok(None),
        Err(error) => return Err(Failure::file(path, error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Failure::Setting {
            path: path.to_owned(),
            line: 1 + sound.iter().filter(|byte| **byte == b'\n').count(),
            what: "this is no UTF-8".to_owned(),
        }
    });
    text.map(Some)
}

fn parse(path: &Path, text: &str) -> Result<Settings, Failure> {
    toml::from_str(text).map_err(|error| unread(path, text, &error))
}

fn unread(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start));
    Failure::Setting {
        path: path.to_owned(),
        line: before.map_or(1, |text| 1 + text.matches('\n').count()),
        what: error.message().replace('\n', " "),
    }
}

pub(super) fn own_path(cache: &Path) -> PathBuf {
    cache.join(OWN_NAME)
}

/// True where a `create` wrote the cache's own file, and for none.
pub(crate) fn own_is_ours(cache: &Path) -> Result<bool, Failure> {
    let text = text_if_there(&own_path(cache))?;
    Ok(text.is_none_or(|text| text.starts_with(OWN_HEADING)))
}

/// What the cache's own file says; nothing for a cache that the command has not made.
pub(super) fn own(cache: &Path) -> Result<Settings, Failure> {
    Ok(read_if_there(&own_path(cache))?.unwrap_or_default())
}

/// The user's file and what it says: the one that is named, which must be there, or the one in its usual place.
pub(super) fn users(named: Option<&Path>) -> Result<Option<(PathBuf, Settings)>, Failure> {
    if let Some(path) = named {
        let settings = read_if_there(path)?;
        let settings = settings.ok_or_else(|| Failure::Missing(path.to_owned()))?;
        return Ok(Some((path.to_owned(), settings)));
    }
    let Some(path) = usual_path(std::env::var_os) else {
        return Ok(None);
    };
    Ok(read_if_there(&path)?.map(|settings| (path, settings)))
}

/// As the XDG base directories say: a path that is not absolute counts as none.
fn usual_path(variable: impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name, below: &str| {
        let base = PathBuf::from(variable(name)?);
        base.is_absolute().then(|| base.join(below))
    };
    absolute("XDG_CONFIG_HOME", "perennial/config.toml")
        .or_else(|| absolute("HOME", ".config/perennial/config.toml"))
}

/// Writes the cache's own file anew, whole or not at all.
pub(super) fn write_own(cache: &Path, text: &str) -> Result<(), Failure> {
    let written = StdFs.open_dir(cache).and_then(|dir| replace(&*dir, text));
    written.map_err(|error| Failure::file(own_path(cache), error))
}

fn replace(dir: &dyn Dir, text: &str) -> io::Result<()> {
    // What a kill left of it.
    match dir.remove(TEMPORARY_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = dir.open(TEMPORARY_NAME, OpenMode::CreateNew)?;
    write_all_at(&*file, text.as_bytes(), 0, 1)?;
    file.sync_data()?;
    dir.rename(TEMPORARY_NAME, OWN_NAME)?;
    dir.sync()
}

/// The text of a new cache's own file.
pub(super) fn own_text(lines: &[(&str, String)]) -> String {
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    OWN_HEADING.to_owned() + &lines.collect::<String>()
}

/// The own file with another capacity: its text, which is not written yet. What else is in it stays, comments too.
pub(super) fn own_with_capacity(cache: &Path, capacity: ByteSize) -> Result<String, Failure> {
    let path = own_path(cache);
    let text = text_if_there(&path)?.unwrap_or_else(|| OWN_HEADING.to_owned());
    let text = with_capacity(&path, &text, capacity)?;
    match parse(&path, &text)?.capacity {
        Some(read) if read == capacity => Ok(text),
        _ => Err(Failure::Setting {
            path,
            line: 1,
            what: "the capacity cannot be changed in it; write it on a line of its own".to_owned(),
        }),
    }
}

fn with_capacity(path: &Path, text: &str, capacity: ByteSize) -> Result<String, Failure> {
    let table = toml::de::DeTable::parse(text).map_err(|error| unread(path, text, &error))?;
    let new = format!("\"{}\"", capacity.exact());
    let values = table.get_ref().iter();
    let mut named = values.filter(|(name, _)| name.get_ref() == "capacity");
    if let Some((_, value)) = named.next() {
        let mut text = text.to_owned();
        text.replace_range(value.span(), &new);
        return Ok(text);
    }
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Ok(format!("{text}{end}capacity = {new}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_line() {
        let error = parse(
            Path::new("a/b.toml"),
            "capacity = \"1MiB\"\n\ncapasity = 3\n",
        );
        let text = error.unwrap_err().to_string();
        for part in ["a/b.toml", "line 3", "capasity"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_value_out_of_range_says_what_is_allowed() {
        for (text, part) in [
            ("capacity = \"lots\"", "64MiB"),
            ("capacity = 5", "string"),
            ("eviction = \"lru\"", "s3-merge"),
            ("compression = \"gzip\"", "zstd"),
            ("capacity = ", "line 1"),
        ] {
            let error = parse(Path::new("f"), text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_capacity_changes_and_the_rest_stays() {
        let changed = |text: &str| with_capacity(Path::new("f"), text, ByteSize(2 << 20)).unwrap();
        for (text, new) in [
            (
                "# mine\neviction = \"fifo\" # why\n capacity=\"1MiB\" # so\n",
                "# mine\neviction = \"fifo\" # why\n capacity=\"2MiB\" # so\n",
            ),
            (
                "\"capacity\" = '1MiB'\r\ntail = '1MiB'",
                "\"capacity\" = \"2MiB\"\r\ntail = '1MiB'",
            ),
            ("'capacity' = \"\"\"\n1MiB\"\"\"", "'capacity' = \"2MiB\""),
            ("", "capacity = \"2MiB\"\n"),
            (
                "# capacity = \"1MiB\"",
                "# capacity = \"1MiB\"\ncapacity = \"2MiB\"\n",
            ),
        ] {
            assert_eq!(changed(text), new);
        }
    }

    #[test]
    fn the_usual_place_needs_an_absolute_home() {
        let at = |xdg: &str, home: &str| {
            let (xdg, home) = (xdg.to_owned(), home.to_owned());
            usual_path(move |name| Some(if name == "HOME" { &home } else { &xdg }.into()))
        };
        assert_eq!(at("", ""), None);
        assert_eq!(at("a", "b"), None);
        let of_home = Some("/h/.config/perennial/config.toml".into());
        assert_eq!(at("", "/h"), of_home);
        assert_eq!(at("/x", "/h"), Some("/x/perennial/config.toml".into()));
        assert_eq!(usual_path(|_| None), None);
    }
}
