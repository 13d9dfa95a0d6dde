//! What is not the cache's own is neither believed nor touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Error, ErrorKind, verify_with};
use perennial_failpoints::lab::Crash;
use perennial_failpoints::{Fs, SimFs};
use perennial_recovery::Identity;
use perennial_wal::segment::{HeaderFound, Join, SegmentHeader, Trailer};
use perennial_wal::{Addr, Lsn, SegmentId};

use crate::small::{self, DIR, Life, file};

type Files = BTreeMap<String, Vec<u8>>;

/// Every file in the directory, by name.
fn files(fs: &SimFs) -> Files {
    let names = fs.file_names(Path::new(DIR));
    names
        .into_iter()
        .map(|name| {
            let content = fs.read_file(&file(&name)).unwrap();
            (name, content)
        })
        .collect()
}

fn refused(fs: &SimFs) -> Error {
    let before = files(fs);
    let error = small::open(fs, small::options()).expect_err("must be refused");
    let mut after = files(fs);
    // A refusal after the directory was recognised as a cache's leaves the lock's empty file.
    if !before.contains_key("LOCK") && after.get("LOCK").is_some_and(Vec::is_empty) {
        after.remove("LOCK");
    }
    assert_eq!(before, after, "{error}");
    error
}

/// A closed cache with some entries.
fn made(seed: u64) -> (SimFs, Life) {
    let fs = SimFs::new(seed);
    let mut life = Life::new(seed);
    let cache = small::open(&fs, small::options()).unwrap();
    life.live(&cache, 60);
    cache.close().unwrap();
    (fs, life)
}

/// Works with the cache until every segment has been written anew, then closes it.
fn churn(fs: &SimFs, life: &mut Life) {
    let cache = small::open(fs, small::options()).unwrap();
    life.live(&cache, 400);
    cache.close().unwrap();
    let cache = small::open(fs, small::options()).unwrap();
    small::check(&cache, &life.oracle, Crash::Kill).unwrap();
}

#[test]
fn a_directory_of_something_else_is_refused_and_not_changed() {
    for name in [
        "notes.txt",
        "CURRENT",
        "000012.sst",
        "seg-1",
        "seg-abcdef",
        "tail-0",
        "identity.bak",
    ] {
        let fs = SimFs::new(1);
        fs.write_file(&file(name), b"mine");
        let error = refused(&fs);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(
            error.to_string().contains("choose an empty directory"),
            "{error}"
        );
        assert_eq!(fs.file_names(Path::new(DIR)), [name]);
    }
}

#[test]
fn a_directory_of_directories_is_refused_and_not_changed() {
    let fs = SimFs::new(1);
    fs.create_dir_all(&file("photos")).unwrap();
    let error = refused(&fs);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(fs.file_names(Path::new(DIR)).is_empty());
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let fs = SimFs::new(1);
    fs.write_file(Path::new(DIR), b"mine");
    let error = small::open(&fs, small::options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(fs.read_file(Path::new(DIR)).unwrap(), b"mine");
}

#[test]
fn what_a_killed_first_open_left_is_no_stranger() {
    for left in [
        &["LOCK"][..],
        &["identity.tmp"],
        &["LOCK", "identity.tmp"],
        &["perennial.toml", "perennial.toml.tmp"],
        &[],
    ] {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new(DIR)).unwrap();
        for name in left {
            fs.write_file(&file(name), b"half");
        }
        let cache = small::open(&fs, small::options()).unwrap();
        cache.insert("key", "value").unwrap();
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let (fs, _) = made(1);
    let mut identity = fs.read_file(&file("identity")).unwrap();
    let half = identity.len() / 2;
    for at in [0, half] {
        identity[at + 8..at + 12].copy_from_slice(&7_u32.to_le_bytes());
    }
    fs.write_file(&file("identity"), &identity);
    let error = refused(&fs);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let said = error.to_string();
    assert!(
        said.contains("format 7") && said.contains("up to 1"),
        "{said}"
    );
}

#[test]
fn a_damaged_identity_is_refused() {
    let (fs, _) = made(1);
    let good = fs.read_file(&file("identity")).unwrap();
    let mut twice = good.clone();
    twice[20] ^= 1;
    twice[good.len() / 2 + 20] ^= 1;
    let bad: [&[u8]; 5] = [
        &twice,
        b"",
        b"PRNL",
        b"something else altogether",
        &[0; 2048],
    ];
    for bytes in bad {
        fs.write_file(&file("identity"), bytes);
        let error = refused(&fs);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("/cache/identity"), "{error}");
    }
    let mut once = good;
    once[20] ^= 1;
    fs.write_file(&file("identity"), &once);
    small::open(&fs, small::options()).unwrap();
}

#[test]
fn segments_without_an_identity_are_refused() {
    let (fs, _) = made(1);
    fs.remove_file(&file("identity"));
    let error = refused(&fs);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let said = error.to_string();
    assert!(
        said.contains("segments but no identity") && said.contains("restore"),
        "{said}"
    );
}

#[test]
fn another_cache_s_segments_under_free_names_are_quarantined() {
    let (theirs, _) = made(2);
    let (fs, mut life) = made(1);
    let mut planted = Files::new();
    for (n, (name, content)) in files(&theirs).into_iter().enumerate() {
        if name.starts_with("seg-") {
            let name = format!("seg-{:06}", 40 + n);
            fs.write_file(&file(&name), &content);
            planted.insert(name, content);
        }
    }
    let whole = small::open(&fs, small::options()).unwrap();
    assert_eq!(whole.stats().quarantined_files, planted.len() as u64);
    let found = small::check(&whole, &life.oracle, Crash::Kill).unwrap();
    assert!(found > 5, "strangers cost {found} entries");
    drop(whole);
    churn(&fs, &mut life);
    for (name, content) in planted {
        assert!(
            fs.read_file(&file(&name)).unwrap() == content,
            "{name} was changed"
        );
    }
}

#[test]
fn another_cache_s_segments_over_our_own_are_quarantined() {
    let (theirs, _) = made(2);
    let theirs = files(&theirs);
    let (ours, _) = made(1);
    for victim in files(&ours)
        .into_keys()
        .filter(|name| name.starts_with("seg-"))
    {
        for (name, content) in theirs.iter().filter(|(name, _)| name.starts_with("seg-")) {
            let (fs, mut life) = made(1);
            fs.write_file(&file(&victim), content);
            let cache = small::open(&fs, small::options()).unwrap();
            assert_eq!(cache.stats().quarantined_files, 1, "{name} over {victim}");
            small::check(&cache, &life.oracle, Crash::Kill).unwrap();
            drop(cache);
            churn(&fs, &mut life);
            assert!(
                fs.read_file(&file(&victim)).unwrap() == *content,
                "{victim} was changed"
            );
        }
    }
}

#[test]
fn all_of_another_cache_but_the_identity_is_quarantined() {
    let (theirs, _) = made(2);
    let (fs, mut life) = made(1);
    let theirs: Files = files(&theirs)
        .into_iter()
        .filter(|(name, _)| name.starts_with("seg-") || name.starts_with("tail-"))
        .collect();
    for (name, content) in &theirs {
        fs.write_file(&file(name), content);
    }
    churn(&fs, &mut life);
    for (name, content) in &theirs {
        assert!(
            fs.read_file(&file(name)).unwrap() == *content,
            "{name} was changed"
        );
    }
}

#[test]
fn another_cache_s_tail_under_our_tail_s_name_is_not_believed() {
    let (theirs, _) = made(2);
    let (fs, mut life) = made(1);
    let tail = |fs: &SimFs| {
        files(fs)
            .into_iter()
            .find(|(name, _)| name.starts_with("tail-"))
            .unwrap()
    };
    fs.write_file(&file(&tail(&fs).0), &tail(&theirs).1);
    let cache = small::open(&fs, small::options()).unwrap();
    small::check(&cache, &life.oracle, Crash::Kill).unwrap();
    drop(cache);
    churn(&fs, &mut life);
}

#[test]
fn stray_files_and_directories_beside_a_cache_are_ignored() {
    let (fs, mut life) = made(1);
    let whole = count(&fs, &life);
    for name in [
        "notes.txt",
        "seg-000001.bak",
        "seg-1",
        "identity.old",
        "lost+found.txt",
    ] {
        fs.write_file(&file(name), name.as_bytes());
    }
    fs.create_dir_all(&file("photos")).unwrap();
    fs.create_dir_all(&file("seg-000099")).unwrap();
    assert_eq!(count(&fs, &life), whole);
    churn(&fs, &mut life);
    for name in [
        "notes.txt",
        "seg-000001.bak",
        "seg-1",
        "identity.old",
        "lost+found.txt",
    ] {
        assert_eq!(fs.read_file(&file(name)).unwrap(), name.as_bytes());
    }
}

fn count(fs: &SimFs, life: &Life) -> u64 {
    let cache: Cache = small::open(fs, small::options()).unwrap();
    assert_eq!(cache.stats().quarantined_files, 0);
    small::check(&cache, &life.oracle, Crash::Kill).unwrap()
}

#[test]
fn a_file_that_appears_under_the_next_segment_s_name_is_left_alone() {
    let fs = SimFs::new(1);
    let mut life = Life::new(1);
    let cache = small::open(&fs, small::options()).unwrap();
    // Names are taken in order: the next ones are somebody else's by now.
    let made = fs.file_names(Path::new(DIR)).len();
    let mut planted = Vec::new();
    for slot in 1..9 {
        let name = file(&format!("seg-{slot:06}"));
        if fs.read_file(&name).is_none() {
            fs.write_file(&name, b"mine");
            planted.push(name);
        }
    }
    life.live(&cache, 400);
    let there = fs.file_names(Path::new(DIR)).len();
    assert!(there > made + planted.len(), "no further segment was made");
    small::check(&cache, &life.oracle, Crash::Kill).unwrap();
    for name in planted {
        assert_eq!(fs.read_file(&name).unwrap(), b"mine", "{name:?}");
    }
    cache.close().unwrap();
}

#[test]
fn a_stranger_with_the_last_name_there_is_costs_no_names() {
    let (theirs, _) = made(2);
    let (fs, mut life) = made(1);
    let last = file("seg-999999");
    let content = files(&theirs).remove("seg-000000").unwrap();
    fs.write_file(&last, &content);
    churn(&fs, &mut life);
    let whole = small::open(&fs, small::options()).unwrap();
    assert!(small::check(&whole, &life.oracle, Crash::Kill).unwrap() > 5);
    assert!(fs.read_file(&last).unwrap() == content);
    assert!(
        fs.file_names(Path::new(DIR))
            .iter()
            .all(|name| name.len() != "seg-1000000".len())
    );
}

#[test]
fn a_name_that_is_only_nearly_a_segment_s_stands_for_none() {
    let (fs, mut life) = made(1);
    let whole = count(&fs, &life);
    let names: Vec<_> = (0..6).map(|n| format!("seg-+0000{n}")).collect();
    for name in &names {
        fs.write_file(&file(name), b"mine");
    }
    assert_eq!(count(&fs, &life), whole);
    churn(&fs, &mut life);
    for name in &names {
        assert_eq!(fs.read_file(&file(name)).unwrap(), b"mine");
    }
}

#[test]
fn a_file_of_ours_with_the_last_name_there_is_costs_no_segments() {
    let (fs, mut life) = made(1);
    // Too short to have had a header: a leftover of our own.
    fs.write_file(&file("seg-999999"), b"");
    churn(&fs, &mut life);
    let names = fs.file_names(Path::new(DIR));
    assert!(
        names.iter().all(|name| name.len() != "seg-1000000".len()),
        "{names:?}"
    );
}

#[test]
fn segments_without_an_identity_are_named_whatever_lies_beside_them() {
    let (fs, _) = made(1);
    fs.remove_file(&file("identity"));
    // A directory is listed in any order: what comes before the segments must not hide them.
    fs.write_file(&file("a-note"), b"mine");
    let error = refused(&fs);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("no identity"), "{error}");
}

#[test]
fn an_identity_with_sizes_that_no_cache_has_is_refused() {
    let (fs, _) = made(1);
    let good = Identity::decode(&fs.read_file(&file("identity")).unwrap()).unwrap();
    let sizes = |segment_bytes, sector| Identity {
        segment_bytes,
        sector,
        ..good.clone()
    };
    let ring = |ring_bytes| {
        let mut identity = good.clone();
        identity.tail.ring_bytes = ring_bytes;
        identity
    };
    let bad = [
        sizes(0, 512),
        sizes(8192, 0),
        sizes(8192, 3),
        sizes(512, 512),
        sizes(1 << 31, 4096),
        Identity {
            identity_bits: 255,
            ..good.clone()
        },
        ring(0),
        ring(1),
        ring(u64::MAX),
    ];
    for identity in bad {
        fs.write_file(&file("identity"), &identity.encode());
        let error = refused(&fs);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{identity:?}: {error}");
        assert!(error.to_string().contains("identity"), "{error}");
    }
}

#[test]
fn a_header_that_says_what_no_header_says_costs_no_more_than_its_segment() {
    let far = [0, 1 << 49, 1 << 52, u64::MAX];
    type Change = Box<dyn Fn(&mut SegmentHeader)>;
    let mut changes: Vec<(String, Change)> = Vec::new();
    for n in far {
        changes.push((
            format!("number {n}"),
            Box::new(move |h| h.number = SegmentId(n)),
        ));
        changes.push((
            format!("predecessor {n}"),
            Box::new(move |h| h.predecessor = SegmentId(n)),
        ));
        changes.push((
            format!("void through {n}"),
            Box::new(move |h| h.joins[0].void_through = n),
        ));
        changes.push((format!("stable {n}"), Box::new(move |h| h.stable = Lsn(n))));
    }
    for begin in [0, 8, 1025, 8192, u32::MAX] {
        changes.push((
            format!("begin {begin}"),
            Box::new(move |h| h.joins[0].begin = begin),
        ));
    }
    for (begin, end) in [(0, 0), (1025, 1024), (u32::MAX, 0), (2048, 4096)] {
        changes.push((
            format!("join {begin} {end}"),
            Box::new(move |h| {
                let join = Join {
                    begin,
                    end,
                    ..h.joins[0]
                };
                h.joins.push(join);
            }),
        ));
    }
    let (fs, _) = made(1);
    for (name, content) in files(&fs) {
        let HeaderFound::Good(header) = SegmentHeader::decode(&content[..content.len().min(1024)])
        else {
            continue;
        };
        for (what, change) in &changes {
            let mut bad = header.clone();
            change(&mut bad);
            let zone = bad.encode();
            let mut content = content.clone();
            content[..zone.len()].copy_from_slice(&zone);
            let fs = fs.process_crash();
            fs.write_file(&file(&name), &content);
            println!("{name}: {what}");
            verify_with(Arc::new(fs.clone()), DIR).expect("verify");
            churn(&fs, &mut Life::new(9));
        }
    }
}

#[test]
fn a_trailer_whose_rows_point_out_of_the_log_is_survived() {
    // Killed and without a checkpoint: the rows are replayed.
    let fs = SimFs::new(1);
    let cache = small::open(&fs, small::options().checkpoint_every_bytes(1 << 30)).unwrap();
    Life::new(1).live(&cache, 90);
    let killed = fs.process_crash();
    drop(cache);
    let fs = killed;
    let mut changed = 0;
    for (name, content) in files(&fs) {
        let Some(trailer) = Trailer::decode(&content).filter(|_| name.starts_with("seg-")) else {
            continue;
        };
        for bits in [1 << 45, 1 << 55, 1 << 60, u64::MAX] {
            let mut bad = trailer.clone();
            for row in &mut bad.rows {
                row.target = Addr::from_bits(bits);
            }
            let end = bad.encode(8 << 10, 512);
            let mut content = content.clone();
            let at = content.len() - end.len();
            content[at..].copy_from_slice(&end);
            let fs = fs.process_crash();
            fs.write_file(&file(&name), &content);
            verify_with(Arc::new(fs.clone()), DIR).expect("verify");
            churn(&fs, &mut Life::new(9));
            changed += 1;
        }
    }
    assert!(changed > 0, "no segment is sealed");
}
