//! What the conformance of all file systems does not cover.

use super::*;

#[test]
fn a_boot_id_is_sixteen_bytes_of_hex() {
    let id = parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff\n").unwrap();
    assert_eq!((id[1], id[14], id[15]), (1, 14, 255));
    assert_eq!(parse_uuid("00010203"), None);
    assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff00"), None);
    assert_eq!(parse_uuid("g0010203-0405-0607-0809-0a0b0c0d0eff"), None);
}

#[test]
fn missing_parents_are_created() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b/c");
    StdFs.create_dir_all(&path).unwrap();
    StdFs.create_dir_all(&path).unwrap();
    assert!(path.is_dir());
    let file = root.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    assert!(StdFs.create_dir_all(&file).is_err());
    assert!(StdFs.create_dir_all(&file.join("below")).is_err());
}

#[test]
fn zeros_reserve_where_the_file_system_cannot() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("zeros");
    std::fs::write(&path, b"abc").unwrap();
    let fd = sys::open(&path, OFlags::RDWR, Mode::empty()).unwrap();
    let len = ZEROS_BYTES as u64 + 10;
    StdFile { fd }.extend_with_zeros(len).unwrap();
    let content = std::fs::read(&path).unwrap();
    assert_eq!(content.len() as u64, len);
    assert_eq!(&content[..4], b"abc\0");
}

#[test]
fn a_lock_ends_with_its_guard_though_a_child_has_inherited_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = StdFs.open_dir(root.path()).unwrap();
    let file = std::fs::File::create(root.path().join("LOCK")).unwrap();
    fs2::FileExt::lock_exclusive(&file).unwrap();
    let _inherited = file.try_clone().unwrap();
    drop(StdLock { file });
    assert!(dir.try_lock("LOCK").unwrap().is_some());
}

#[test]
fn random_numbers_differ() {
    assert_ne!(StdFs.random_u64(), StdFs.random_u64());
}
