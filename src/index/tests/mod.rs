mod cases;
mod measures;
mod model;
mod races;

use std::convert::Infallible;

use perennial_wal::Addr;

use super::{Entry, Index, IndexGeometry, Live, ShardGuard};

fn index(shards_log2: u8, identity_bits: u8) -> Index<()> {
    let index = Index::new(IndexGeometry {
        shards_log2,
        identity_bits,
        fp_rate: 0.01,
    });
    index.set_horizon(false, 1 << 38);
    index.set_horizon(true, 1 << 38);
    index.spare_fences();
    index
}

/// A hash whose top bits are well spread, different for every number.
fn hash(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn addr(units: u64) -> Addr {
    Addr::from_units(false, units)
}

fn all_live(_: Addr) -> bool {
    true
}

fn put(index: &Index<()>, hash: u64, addr: Addr, class: u8) {
    enter(&mut index.lock(hash), hash, (addr, class), &all_live);
}

/// As a plain insert does it; returns what was replaced.
fn enter(
    shard: &mut ShardGuard<'_, ()>,
    hash: u64,
    (addr, class): (Addr, u8),
    live: Live<'_>,
) -> Option<Entry> {
    let reserve = |_: &mut ()| Ok::<_, Infallible>(((), addr));
    let entered = shard.enter(hash, (class, 1), live, reserve);
    entered.unwrap().1
}
