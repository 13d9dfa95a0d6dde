use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::{File, OpenMode, SimFs, write_all_at};

/// A wrapped machine with one empty file, made by four calls (mkdir, open directory, create, sync directory).
fn wrapped(plan: Plan) -> (SimFs, FaultFs, Arc<dyn File>) {
    let sim = SimFs::new(1);
    let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
    let file = open(&fs, OpenMode::CreateNew);
    fs.set_plan(plan);
    (sim, fs, file)
}

fn open(fs: &FaultFs, mode: OpenMode) -> Arc<dyn File> {
    fs.create_dir_all(Path::new("/d")).unwrap();
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    let file = dir.open("a", mode).unwrap();
    dir.sync().unwrap();
    file
}

fn content(fs: &SimFs) -> Vec<u8> {
    fs.read_file(Path::new("/d/a")).unwrap()
}

#[test]
fn calls_are_numbered_and_described() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let plan = Plan::new(move |call| {
        let told = (
            call.n,
            call.kind,
            call.name.to_owned(),
            call.offset,
            call.len,
        );
        seen.lock().push(told);
        Action::Pass
    });
    let (_, fs, file) = wrapped(plan);
    assert_eq!(fs.calls(), 4);
    file.write_at(b"abc", 9).unwrap();
    file.read_at(&mut [0; 2], 1).unwrap();
    file.allocate(100).unwrap();
    file.sync_data().unwrap();
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    let _ = (
        fs.boot_id(),
        fs.random_u64(),
        fs.monotonic_ns(),
        fs.unix_time_ms(),
        dir.path(),
    );
    dir.rename("a", "b").unwrap();
    assert_eq!(fs.calls(), 10);
    let told = |n, kind, name: &str, offset, len| (n, kind, name.to_owned(), offset, len);
    let wanted = [
        told(5, CallKind::Write, "a", 9, 3),
        told(6, CallKind::Read, "a", 1, 2),
        told(7, CallKind::Allocate, "a", 0, 100),
        told(8, CallKind::SyncData, "a", 0, 0),
        told(9, CallKind::OpenDir, "/d", 0, 0),
        told(10, CallKind::Rename, "a", 0, 0),
    ];
    assert_eq!(*log.lock(), wanted);
}

#[test]
fn one_failure_passes_and_a_sticky_one_stays() {
    for sticky in [false, true] {
        let (sim, _, file) = wrapped(Plan::fail_nth(6, ErrorKind::StorageFull, sticky));
        file.write_at(b"a", 0).unwrap();
        let failed = file.write_at(b"b", 1).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::StorageFull);
        assert_eq!(content(&sim), b"a", "the call was made");
        assert_eq!(file.write_at(b"c", 1).is_err(), sticky);
    }
}

#[test]
fn one_kind_of_call_fails() {
    let (_, fs, file) = wrapped(Plan::fail_matching(CallKind::SyncData, ErrorKind::TimedOut));
    file.write_at(b"a", 0).unwrap();
    assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::TimedOut);
    fs.set_plan(Plan::new(|_| Action::FailRaw(5)));
    assert_eq!(file.len().unwrap_err().raw_os_error(), Some(5));
}

#[test]
fn a_short_write_is_gone_on_with() {
    let (sim, fs, file) = wrapped(Plan::short_nth(5, 3));
    write_all_at(&*file, b"abcdefgh", 0, 1).unwrap();
    assert_eq!(content(&sim), b"abcdefgh");
    assert_eq!(fs.calls(), 6);
    fs.set_plan(Plan::short_nth(7, 2));
    let mut buf = [0; 8];
    crate::read_exact_at(&*file, &mut buf, 0).unwrap();
    assert_eq!(&buf, b"abcdefgh");
    fs.set_plan(Plan::new(|_| Action::Short(0)));
    let stuck = write_all_at(&*file, b"x", 0, 1).unwrap_err();
    assert_eq!(stuck.kind(), ErrorKind::WriteZero);
}

#[test]
fn an_interrupted_write_is_tried_again() {
    let (sim, _, file) = wrapped(Plan::fail_nth(5, ErrorKind::Interrupted, false));
    write_all_at(&*file, b"abc", 0, 1).unwrap();
    assert_eq!(content(&sim), b"abc");
}

#[test]
fn a_short_unbuffered_write_is_gone_on_with_at_a_sector() {
    let space: Vec<u8> = (0..4096).map(|i: u32| (i / 100).to_le_bytes()[0]).collect();
    let skip = space.as_ptr().align_offset(512);
    let buf = &space[skip..skip + 2048];
    for short in [512, 700, 1024, 2047] {
        let (sim, fs, _) = wrapped(Plan::none());
        let file = open(&fs, OpenMode::Direct);
        fs.set_plan(Plan::short_nth(fs.calls() + 1, short));
        write_all_at(&*file, buf, 512, 512).unwrap();
        assert_eq!(&content(&sim)[512..], buf, "short by {short}");
    }
}

#[test]
fn a_kill_takes_an_image_and_ends_everything() {
    for (plan, survives) in [(Plan::kill_before(6), "a"), (Plan::kill_after(6), "ab")] {
        let sim = SimFs::new(1);
        let image = Arc::new(Mutex::new(None));
        let kills = Arc::new(AtomicU64::new(0));
        let (machine, taken, counted) = (sim.clone(), Arc::clone(&image), Arc::clone(&kills));
        let on_kill = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            *taken.lock() = Some(machine.process_crash());
        };
        let fs = FaultFs::with_kill(Arc::new(sim), plan, Arc::new(on_kill));
        let file = open(&fs, OpenMode::CreateNew);
        file.write_at(b"a", 0).unwrap();
        assert!(!fs.is_dead());
        file.write_at(b"b", 1).unwrap_err();
        assert!(fs.is_dead());
        file.write_at(b"c", 2).unwrap_err();
        fs.open_dir(Path::new("/d")).unwrap_err();
        assert_eq!((fs.calls(), kills.load(Ordering::SeqCst)), (6, 1));
        let image = image.lock().take().unwrap();
        assert_eq!(content(&image), survives.as_bytes());
    }
}

#[test]
fn a_kill_may_panic() {
    let on_kill = || panic!("killed");
    let sim = Arc::new(SimFs::new(1));
    let fs = FaultFs::with_kill(sim, Plan::kill_before(5), Arc::new(on_kill));
    let file = open(&fs, OpenMode::CreateNew);
    let write = std::panic::AssertUnwindSafe(|| file.write_at(b"a", 0));
    assert!(std::panic::catch_unwind(write).is_err());
    assert!(fs.is_dead());
    file.len().unwrap_err();
}

#[test]
fn the_default_kill_is_sigkill() {
    use std::os::unix::process::ExitStatusExt;
    const VICTIM: &str = "PERENNIAL_FAILPOINTS_VICTIM";
    if std::env::var_os(VICTIM).is_some() {
        let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::kill_before(1));
        let _ = fs.create_dir_all(Path::new("/d"));
        unreachable!("killed");
    }
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap());
    let victim = victim.args(["--exact", "plan::tests::the_default_kill_is_sigkill"]);
    let output = victim.env(VICTIM, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(9));
}

/// EIO, ENOSPC, EINTR, EMFILE.
const NUMBERS: [i32; 4] = [5, 28, 4, 24];

#[test]
fn every_call_fails_with_every_number() {
    for number in NUMBERS {
        let (sim, fs, file) = wrapped(Plan::none());
        let dir = fs.open_dir(Path::new("/d")).unwrap();
        fs.set_plan(Plan::new(move |_| Action::FailRaw(number)));
        let failed = [
            fs.create_dir_all(Path::new("/e")).err(),
            fs.open_dir(Path::new("/d")).err(),
            fs.free_bytes(Path::new("/d")).err(),
            dir.list().err(),
            dir.has_other_entries().err(),
            dir.open("a", OpenMode::Read).err(),
            dir.open("b", OpenMode::CreateNew).err(),
            dir.rename("a", "b").err(),
            dir.remove("a").err(),
            dir.sync().err(),
            dir.try_lock("lock").err(),
            file.read_at(&mut [0], 0).err(),
            file.write_at(b"a", 0).err(),
            file.len().err(),
            file.set_len(7).err(),
            file.allocate(7).err(),
            file.sync_data().err(),
            file.map(1).err(),
        ];
        for (call, error) in failed.into_iter().enumerate() {
            let told = error.and_then(|error| error.raw_os_error());
            assert_eq!(told, Some(number), "call {call}");
        }
        assert_eq!(sim.file_names(Path::new("/d")), ["a"]);
        assert!(content(&sim).is_empty());
    }
}

#[test]
fn a_skipped_call_reports_success_and_is_not_made() {
    let (sim, fs, file) = wrapped(Plan::none());
    file.write_at(b"kept", 0).unwrap();
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    let pending = sim.pending_effects();
    fs.set_plan(Plan::new(|_| Action::Skip));
    assert_eq!(file.write_at(b"lost", 0).unwrap(), 4);
    file.set_len(1).unwrap();
    file.allocate(100).unwrap();
    file.sync_data().unwrap();
    dir.rename("a", "b").unwrap();
    dir.remove("a").unwrap();
    dir.sync().unwrap();
    assert_eq!(content(&sim), b"kept");
    assert_eq!(sim.pending_effects(), pending);
    // What has to give something back is made.
    let mut buf = [0; 4];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 4);
    assert_eq!(&buf, b"kept");
}

#[test]
fn misdirected_calls_end_up_elsewhere() {
    let (sim, fs, file) = wrapped(Plan::none());
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    file.write_at(b"aaaa", 0).unwrap();
    fs.set_plan(Plan::new(|_| Action::OtherFile));
    file.write_at(b"b", 0).unwrap();
    assert_eq!(content(&sim), b"baaa", "there is no other file");
    let other = dir.open("other", OpenMode::CreateNew).unwrap();
    file.write_at(b"cc", 1).unwrap();
    assert_eq!(content(&sim), b"baaa");
    assert_eq!(sim.read_file(Path::new("/d/other")).unwrap(), b"\0cc");
    let mut buf = [0; 3];
    assert_eq!(other.read_at(&mut buf, 0).unwrap(), 3);
    assert_eq!(&buf, b"baa", "and the other way round");
    fs.set_plan(Plan::new(|_| Action::Misdirect(2)));
    file.write_at(b"d", 0).unwrap();
    assert_eq!(content(&sim), b"bada");
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 2);
    assert_eq!(&buf[..2], b"da");
}

#[test]
fn a_bit_flips_on_the_way() {
    let (sim, fs, file) = wrapped(Plan::new(|_| Action::FlipBit(9)));
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(content(&sim), b"a`c");
    let mut buf = [0; 3];
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"abc", "flipped twice");
    fs.set_plan(Plan::new(|_| Action::FlipBit(24)));
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"a`c", "there is no such bit");
}

#[test]
fn what_is_held_is_made_once_it_is_let_go() {
    let machine = SimFs::new(1);
    let plan = Plan::new(|call| match call.kind {
        CallKind::SyncDir => Action::Hold,
        _ => Action::Pass,
    });
    let fs = FaultFs::new(Arc::new(machine), plan);
    fs.create_dir_all(Path::new("/d")).unwrap();
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    std::thread::scope(|s| {
        let synced = s.spawn(|| dir.sync());
        while fs.held() == 0 {
            std::thread::yield_now();
        }
        assert!(dir.list().unwrap().is_empty(), "others go on");
        assert!(!synced.is_finished());
        fs.set_plan(Plan::none());
        fs.let_go();
        synced.join().unwrap().unwrap();
    });
    assert_eq!(fs.held(), 0);
}
