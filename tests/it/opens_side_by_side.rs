//! An open by several threads finds what one thread finds: with a checkpoint that cannot be used, with bad sectors, after any
//! history.

use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use crate::holes::lab::{DIR, get, kill, open, roomy, segments_with};

/// Where frames of checkpoints' parts lie.
fn parts(fs: &SimFs) -> Vec<(String, usize)> {
    const PART: u8 = 6;
    let mut parts = Vec::new();
    for (path, _) in segments_with(fs, b"PRNLSEG") {
        let content = fs.read_file(Path::new(&path)).unwrap();
        let is_part = |at: &usize| {
            let place = u32::try_from(at / 16).unwrap().to_le_bytes();
            content[at + 8] == PART && content[at + 4..at + 8] == place
        };
        let found = (1024..content.len() - 100).step_by(16).filter(is_part);
        parts.extend(found.map(|at| (path.clone(), at)));
    }
    parts
}

/// Its head was come across, and the segment of its C was read without what it knows. Taken for the whole one, that segment
/// showed the value of the checkpoint before, and a key that was removed since.
#[test]
fn a_checkpoint_that_cannot_be_used_hides_nothing() {
    let options = || roomy().index_shards(8);
    let machine = SimFs::new(6);
    let cache = open(&machine, options());
    for n in 0..600_u32 {
        cache.insert(format!("k{n}"), [7; 30]).unwrap();
    }
    cache.insert("it", "first version").unwrap();
    cache.checkpoint().unwrap();
    for n in 0..20_u32 {
        cache.insert(format!("k{n}"), [8; 30]).unwrap();
    }
    cache.remove("k100").unwrap();
    cache.insert_durable("it", "second version").unwrap();
    let before = parts(&machine);
    // Its parts fill several segments: the head lies in another one than C.
    cache.checkpoint().unwrap();
    for n in 0..600_u32 {
        cache.insert(format!("filler{n}"), [9; 60]).unwrap();
    }
    cache.flush().unwrap();
    let image = kill(&machine, cache);
    let new = parts(&image)
        .into_iter()
        .find(|part| !before.contains(part));
    let (path, at) = new.expect("a part of the second checkpoint");
    assert!(image.flip_bit(Path::new(&path), at as u64 + 60, 3));
    for round in 0..20 {
        let image = image.process_crash();
        let cache = open(&image, options().background(true));
        assert!(cache.stats().recovered_from_checkpoint > 0);
        assert_eq!(
            get(&cache, "it").as_deref(),
            Some(&b"second version"[..]),
            "{round}"
        );
        assert_eq!(get(&cache, "k100"), None, "{round}");
    }
}

/// The end of a segment is read at once, and with its trailer what lies before that.
#[test]
fn a_bad_sector_beside_a_trailer_costs_what_lies_there() {
    let machine = SimFs::new(7);
    let cache = open(&machine, roomy());
    for n in 0..100_u32 {
        cache.insert(format!("k{n}"), [7; 500]).unwrap();
    }
    cache.flush().unwrap();
    let image = kill(&machine, cache).power_loss(1);
    let (path, at) = segments_with(&image, b"k40").remove(0);
    let name = path.rsplit('/').next().unwrap().to_owned();
    // The header lies before the key.
    let sector = (at - 32) / 512 * 512;
    for background in [false, true] {
        let name = name.clone();
        let plan = Plan::new(move |call: &Call<'_>| {
            let touches = call.offset < sector + 512 && sector < call.offset + call.len;
            if call.name == name && touches && call.kind == CallKind::Read {
                const EIO: i32 = 5;
                return Action::FailRaw(EIO);
            }
            Action::Pass
        });
        let fs = FaultFs::new(Arc::new(image.process_crash()), plan);
        let options = roomy().background(background);
        let cache = Cache::open_with(Arc::new(fs), DIR, options).unwrap();
        let is_there = |n: &u32| matches!(cache.get(format!("k{n}")), Ok(Some(_)));
        let there = (0..100).filter(is_there).count();
        assert!(there >= 98, "{there} with background {background}");
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// The image of so many fills several segments.
const KEYS: u64 = 900;

fn key(n: u64) -> String {
    format!("{}/{n}", n % 3)
}

fn live(cache: &Cache, dice: &mut Dice) {
    for n in 0..400 + dice.below(2_000) {
        let key = key(dice.below(KEYS));
        match dice.below(200) {
            0 => cache.checkpoint().unwrap(),
            1 => cache.flush().map(drop).unwrap(),
            2 if dice.below(4) == 0 => cache.clear().unwrap(),
            3 if dice.below(2) == 0 => {
                cache.remove_prefix(format!("{}/", dice.below(3))).unwrap();
            }
            4..30 => {
                cache.remove(&key).unwrap();
            }
            _ => {
                let most = if dice.below(8) == 0 { 2_300 } else { 300 };
                let len = 8 + dice.below(most);
                let mut value = vec![7; usize::try_from(len).unwrap()];
                value[..8].copy_from_slice(&n.to_le_bytes());
                cache.insert(&key, value).unwrap();
            }
        }
    }
}

fn crash(machine: &SimFs, cache: Cache, dice: &mut Dice) -> SimFs {
    let image = kill(machine, cache);
    let image = match dice.below(3) {
        0 => image.power_loss(dice.below(1 << 30)),
        _ => image,
    };
    for _ in 0..dice.below(3) {
        let names = image.file_names(Path::new(DIR));
        let segments: Vec<_> = names
            .into_iter()
            .filter(|name| name.starts_with("seg-"))
            .collect();
        let n = usize::try_from(dice.below(segments.len() as u64)).unwrap();
        let path = format!("{DIR}/{}", segments[n]);
        let bit = u32::try_from(dice.below(8)).unwrap();
        image.flip_bit(Path::new(&path), dice.below(8 << 10), bit);
    }
    image
}

/// What each key has, by one thread and by several.
fn both(image: &SimFs, options: &Options) -> [Vec<Option<Vec<u8>>>; 2] {
    [false, true].map(|several| {
        let image = image.process_crash();
        let cache = open(&image, options.clone().background(several));
        (0..KEYS).map(|n| get(&cache, &key(n))).collect()
    })
}

#[test]
fn several_threads_find_what_one_finds() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let options = roomy()
            .index_shards(1 << dice.below(5))
            .load_at_open_entries(dice.below(2) * 1_000);
        let machine = SimFs::new(seed);
        let cache = open(&machine, options.clone());
        live(&cache, &mut dice);
        let mut image = crash(&machine, cache, &mut dice);
        // A second life, over what the first one left.
        if dice.below(2) == 0 {
            let cache = open(&image, options.clone());
            live(&cache, &mut dice);
            image = crash(&image, cache, &mut dice);
        }
        let [one, several] = both(&image, &options);
        assert_eq!(one, several, "seed {seed}");
    }
}

/// With entries that are moved to kept segments. Either open may reclaim and drop some; what both show is the same.
#[test]
fn several_threads_show_what_one_shows() {
    for seed in 0..150 {
        let mut dice = Dice(seed + 1_000);
        let options = roomy()
            .capacity_bytes(160 << 10)
            .eviction(Eviction::S3Merge)
            .load_at_open_entries(dice.below(2) * 1_000);
        let machine = SimFs::new(seed);
        let cache = open(&machine, options.clone());
        for _ in 0..3 {
            live(&cache, &mut dice);
            (0..KEYS / 2).for_each(|n| drop(get(&cache, &key(n))));
        }
        let image = crash(&machine, cache, &mut dice);
        let [one, several] = both(&image, &options);
        for (n, (one, several)) in one.iter().zip(&several).enumerate() {
            let dropped = one.is_none() || several.is_none();
            assert!(dropped || one == several, "seed {seed}, key {n}");
        }
    }
}
