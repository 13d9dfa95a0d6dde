//! Every fault site of the source is reached, and a machine that stops at any of them recovers.
//!
//! The sites are read from the source: one that no story reaches fails the test, and so does a name used twice.

mod moved_meanwhile;
mod source;
mod stories;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use perennial_failpoints::SimFs;
use perennial_failpoints::lab::Crash;
use perennial_failpoints::sites;

use stories::{Journal, World, recovers};

/// The registry of sites is the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// At least so many there must be.
const SITES_MIN: usize = 60;

#[test]
fn every_site_of_the_source_is_reached() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    sites::reset();
    for (name, tell) in stories::ALL {
        println!("{name}");
        tell(&World::new(1));
    }
    let hits: BTreeMap<String, u64> = sites::hits().into_iter().collect();
    let listed = source::sites();
    let missed: Vec<_> = listed
        .iter()
        .filter(|site| !hits.contains_key(*site))
        .collect();
    for site in &listed {
        println!("{:>8}  {site}", hits.get(site).copied().unwrap_or(0));
    }
    assert!(listed.len() >= SITES_MIN, "only {} sites", listed.len());
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn a_site_is_named_once_and_after_its_module() {
    let mut listed = source::sites();
    let count = listed.len();
    listed.dedup();
    assert_eq!(listed.len(), count, "a name is used twice");
    for (file, site) in source::sites_by_file() {
        let module = source::module_of(&file);
        let place = site.rsplit_once("::").map_or("", |(place, _)| place);
        assert!(
            module.starts_with(place) && !place.is_empty(),
            "{site} is in {file}"
        );
    }
}

/// A machine at a site, and what had returned by then.
struct Moment {
    site: &'static str,
    machine: SimFs,
    journal: stories::Told,
}

/// So many images are taken of each site in each story.
const IMAGES_PER_SITE: usize = 3;

/// Between two calls the mapped tail has states that no crash at a call shows.
#[test]
fn a_machine_that_stops_at_any_site_recovers() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recovered = 0;
    for (name, tell) in stories::ALL {
        sites::reset();
        let world = World::new(2);
        let moments = Arc::new(Mutex::new(Vec::<Moment>::new()));
        watch(&world, &moments);
        tell(&world);
        sites::watch(None);
        let moments = std::mem::take(&mut *moments.lock().expect("no watcher panicked"));
        for Moment {
            site,
            machine,
            journal,
        } in moments
        {
            let images = [
                (Crash::Kill, machine.process_crash()),
                (Crash::Power, machine.power_loss(recovered)),
                (Crash::Power, machine.power_loss(recovered + 1)),
            ];
            for (crash, image) in images {
                recovered += 1;
                if let Err(why) = recovers(&image, &journal, crash) {
                    panic!("{name}, at {site}, {crash:?}: {why}");
                }
            }
        }
    }
    println!("{recovered} recoveries");
    assert!(recovered > 500, "{recovered}");
}

fn watch(world: &World, moments: &Arc<Mutex<Vec<Moment>>>) {
    let seen = Mutex::new(BTreeMap::<&'static str, usize>::new());
    let (machine, journal, moments) = (
        Arc::clone(&world.machine),
        Journal::clone(&world.journal),
        Arc::clone(moments),
    );
    sites::watch(Some(Arc::new(move |site| {
        let mut seen = seen.lock().expect("no watcher panicked");
        let count = seen.entry(site).or_default();
        *count += 1;
        if *count > IMAGES_PER_SITE {
            return;
        }
        // The journal first: what returns while the image is taken may be in it or not.
        let journal = journal.told();
        let machine = machine.lock().expect("no watcher panicked").process_crash();
        let moment = Moment {
            site,
            machine,
            journal,
        };
        moments.lock().expect("no watcher panicked").push(moment);
    })));
}
