//! Which workloads are run, on which stores, how often.

use crate::backend::Kind;
use crate::workload::{Effort, Ending, Place, Workload, hits_apply};

/// One workload of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) workload: Workload,
    pub(crate) kinds: Vec<Kind>,
    /// Of what is slow there are fewer.
    pub(crate) most_repeats: u32,
}

/// Repeats, where none are asked for.
pub(crate) fn repeats(effort: Effort) -> u32 {
    match effort {
        Effort::Full => 3,
        Effort::Quick => 1,
    }
}

use Kind::{
    BareLog, BareLoop, Device, Files, Fjall, Foyer, Harness, Moka, Perennial, Pread, PreadDirect,
    QuickCache, Redb, RocksdbFifo, RocksdbLevel, Sled,
};

const STORES: [Kind; 8] = [
    Perennial,
    Foyer,
    RocksdbLevel,
    RocksdbFifo,
    Fjall,
    Redb,
    Sled,
    Files,
];
const SIZES: [usize; 5] = [128, 256, 4 << 10, 64 << 10, 1 << 20];

/// All of a run, in order.
pub(crate) fn all(effort: Effort) -> Vec<Item> {
    let mut items = Vec::new();
    items.extend(SIZES.map(fill));
    items.extend([1, 8, 64].map(durable));
    items.extend([Place::Memory, Place::Tail, Place::PageCache, Place::Disk].map(hits));
    items.extend(reads(effort));
    items.extend(whole_caches());
    items.extend(restarts(effort));
    items.extend(costs(effort));
    items
}

fn item(workload: Workload, kinds: &[Kind], most_repeats: u32) -> Item {
    let kinds = kinds.to_vec();
    Item {
        workload,
        kinds,
        most_repeats,
    }
}

fn fill(bytes: usize) -> Item {
    let small = bytes < 4096;
    // A file for each of so many small values is nobody's choice; the loop and the device are the limits of one kind each.
    let left_out = if small {
        [Files, Device]
    } else {
        [BareLoop, BareLoop]
    };
    let kinds = STORES
        .into_iter()
        .chain([BareLog, BareLoop, Device, Harness]);
    let kinds: Vec<_> = kinds.filter(|kind| !left_out.contains(kind)).collect();
    item(Workload::Fill { bytes }, &kinds, u32::MAX)
}

fn durable(threads: usize) -> Item {
    let mut kinds: Vec<_> = STORES
        .into_iter()
        .chain([BareLog])
        .filter(|kind| kind.has_durable_put())
        .collect();
    if threads == 1 {
        kinds.push(Device);
    }
    item(Workload::Durable { threads }, &kinds, u32::MAX)
}

fn hits(place: Place) -> Item {
    let all = STORES
        .into_iter()
        .chain([QuickCache, Moka, BareLog, Pread, PreadDirect]);
    // So many files take longer to make and to remove than to read.
    let too_many = |kind: &Kind| *kind == Files && place == Place::Disk;
    let kinds: Vec<_> = all
        .filter(|kind| hits_apply(*kind, place) && !too_many(kind))
        .collect();
    item(Workload::Hits { place }, &kinds, u32::MAX)
}

fn reads(effort: Effort) -> Vec<Item> {
    let many = [
        Perennial,
        Foyer,
        RocksdbLevel,
        RocksdbFifo,
        Fjall,
        Redb,
        Sled,
        BareLog,
        Harness,
    ];
    let misses = |keys, most| item(Workload::Miss { keys }, &many, most);
    let kinds: Vec<_> = STORES.into_iter().chain([BareLog, Pread]).collect();
    let mut items = vec![misses(1_000_000, u32::MAX)];
    if effort == Effort::Full {
        items.push(misses(10_000_000, 1));
    }
    items.push(item(Workload::Range, &kinds, u32::MAX));
    items
}

fn whole_caches() -> Vec<Item> {
    let mixed = |bytes| item(Workload::Mixed { bytes }, &STORES, 2);
    vec![
        mixed(1 << 20),
        mixed(64 << 10),
        item(Workload::Churn, &STORES, 2),
    ]
}

fn restarts(effort: Effort) -> Vec<Item> {
    let stores: Vec<_> = STORES.into_iter().filter(|kind| *kind != Files).collect();
    let some = [Perennial, RocksdbLevel, Fjall];
    let restart = |entries, ending, kinds: &[Kind], most| {
        item(Workload::Restart { entries, ending }, kinds, most)
    };
    let (small, kinds) = match effort {
        Effort::Full => (1_000_000, &some[..]),
        Effort::Quick => (100_000, &[Perennial, Foyer][..]),
    };
    let large = small * 10;
    let mut items = vec![
        restart(small, Ending::Clean, &stores, u32::MAX),
        restart(small, Ending::Kill, &stores, u32::MAX),
        restart(large, Ending::Clean, kinds, 1),
        restart(large, Ending::Kill, kinds, 1),
        restart(large, Ending::KillRecent, &[Perennial], 1),
    ];
    let endings = [
        Ending::Clean,
        Ending::Kill,
        Ending::KillWorst,
        Ending::KillRecent,
    ];
    let most = if effort == Effort::Full {
        50_000_000
    } else {
        2_000_000
    };
    items.extend(endings.map(|ending| restart(most, ending, &[Perennial], 1)));
    items
}

fn costs(effort: Effort) -> Vec<Item> {
    let memory = |entries, kinds: &[Kind]| item(Workload::Memory { entries }, kinds, 1);
    let mut items = vec![memory(
        1_000_000,
        &[Perennial, Foyer, RocksdbLevel, Fjall, Sled, BareLog],
    )];
    if effort == Effort::Full {
        items.push(memory(
            10_000_000,
            &[Perennial, RocksdbLevel, Fjall, BareLog],
        ));
    }
    let amplify = |bytes, paced, kinds: &[Kind]| item(Workload::Amplify { bytes, paced }, kinds, 1);
    let most = [Perennial, Foyer, RocksdbLevel, RocksdbFifo, Fjall, BareLog];
    let few = [Perennial, Foyer, RocksdbLevel, Fjall];
    for bytes in [128, 4096] {
        items.push(amplify(bytes, false, &most));
        items.push(amplify(bytes, true, &few));
    }
    items.push(item(
        Workload::Busy,
        &[Perennial, Foyer, RocksdbLevel, RocksdbFifo, Fjall],
        2,
    ));
    items
}

/// Those whose name begins with one of `only`, up to the end of a part; all, where it is empty. The same of stores.
pub(crate) fn chosen(items: Vec<Item>, only: &[String], kinds: &[Kind]) -> Vec<Item> {
    let begins = |name: &str, with: &String| {
        name.strip_prefix(with.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    items
        .into_iter()
        .filter(|item| {
            only.is_empty()
                || only
                    .iter()
                    .any(|with| begins(&item.workload.to_string(), with))
        })
        .map(|mut item| {
            item.kinds
                .retain(|kind| kinds.is_empty() || kinds.contains(kind));
            item
        })
        .filter(|item| !item.kinds.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_stores_and_a_name_of_its_own() {
        for effort in [Effort::Full, Effort::Quick] {
            let items = all(effort);
            let names: std::collections::HashSet<_> =
                items.iter().map(|item| item.workload.to_string()).collect();
            assert_eq!(names.len(), items.len());
            for item in &items {
                assert!(item.kinds.contains(&Perennial), "{}", item.workload);
                let kinds: std::collections::BTreeSet<_> = item.kinds.iter().collect();
                assert_eq!(kinds.len(), item.kinds.len(), "{}", item.workload);
            }
        }
    }

    #[test]
    fn workloads_are_chosen_by_the_beginning_of_their_names() {
        let choose = |only: &str| chosen(all(Effort::Full), &[only.to_owned()], &[]);
        assert_eq!(choose("fill").len(), 5);
        assert_eq!(choose("fill/4KiB").len(), 1);
        assert_eq!(choose("restart/50M").len(), 4);
        assert!(choose("fil").is_empty());
    }

    #[test]
    fn stores_are_chosen_by_name() {
        let some = chosen(all(Effort::Full), &[], &[QuickCache]);
        assert_eq!(some.len(), 1, "memory is all it has");
        assert_eq!(some[0].kinds, [QuickCache]);
    }
}
