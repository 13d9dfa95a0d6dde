//! Named fault sites: places in the code where a test can step in, and nothing where none does.

/// Marks a place where a test can step in; without the feature `failpoints` it compiles to nothing.
///
/// The name mirrors the module path. `site!("log::flush::write")` can panic, wait or end the process;
/// `site!("log::flush::write", |e| Err(e.into()))` can also return early, with what the closure makes of the
/// [`std::io::Error`] that was set.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! site {
    ($name:literal) => {
        let _ = $crate::sites::reach($name);
    };
    ($name:literal, $early:expr) => {
        if let Some(error) = $crate::sites::reach($name) {
            return $crate::sites::early(error, $early);
        }
    };
}

/// Marks a place where a test can step in; without the feature `failpoints`, as here, it compiles to nothing.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! site {
    ($name:literal) => {};
    ($name:literal, $early:expr) => {};
}

/// What the [`site!`](crate::site!)s of this process do. One registry for all threads: tests that share a process
/// share it.
#[cfg(feature = "failpoints")]
pub mod sites {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;

    /// What happens where a site is reached.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum SiteAction {
        /// Nothing; the hit is counted.
        Pass,
        /// Early return with an error of this kind, where the site has a way to.
        Return(io::ErrorKind),
        /// A panic that names the site.
        Panic,
        /// A wait.
        Delay(Duration),
        /// The thread gives way to others.
        Yield,
        /// The process ends by SIGKILL.
        Kill,
    }

    #[derive(Debug)]
    struct Site {
        action: SiteAction,
        hits: u64,
    }

    /// Told the name of every site that is reached.
    pub type Watcher = Arc<dyn Fn(&'static str) + Send + Sync>;

    static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);

    /// From now on every site that is reached tells `watcher`, before it acts: for images of a machine between two calls.
    pub fn watch(watcher: Option<Watcher>) {
        *WATCHER.lock() = watcher;
    }

    static SITES: Mutex<BTreeMap<String, Site>> = Mutex::new(BTreeMap::new());

    /// From now on `name` does this.
    pub fn set(name: &str, action: SiteAction) {
        let mut sites = SITES.lock();
        let hits = sites.get(name).map_or(0, |site| site.hits);
        sites.insert(name.to_owned(), Site { action, hits });
    }

    /// How often each site was reached or, with 0, was only set.
    #[must_use]
    pub fn hits() -> Vec<(String, u64)> {
        let sites = SITES.lock();
        let hits = sites.iter().map(|(name, site)| (name.clone(), site.hits));
        hits.collect()
    }

    /// All sites pass, all counts are 0.
    pub fn reset() {
        SITES.lock().clear();
    }

    /// Called by [`site!`](crate::site!): counts the hit and does what was set; an error to return with, if any.
    ///
    /// # Panics
    /// When that was set.
    #[must_use]
    pub fn reach(name: &'static str) -> Option<io::Error> {
        let watcher = WATCHER.lock().clone();
        watcher.into_iter().for_each(|watcher| watcher(name));
        // The lock is not held while the site acts: others may be reached meanwhile.
        match count(name) {
            SiteAction::Pass => None,
            SiteAction::Return(kind) => Some(io::Error::new(kind, format!("fault site {name}"))),
            SiteAction::Panic => panic!("fault site {name}"),
            SiteAction::Delay(time) => {
                std::thread::sleep(time);
                None
            }
            SiteAction::Yield => {
                std::thread::yield_now();
                None
            }
            SiteAction::Kill => {
                crate::plan::kill_self();
                None
            }
        }
    }

    /// Called by [`site!`](crate::site!): gives its closure the type of the argument.
    pub fn early<T>(error: io::Error, early: impl FnOnce(io::Error) -> T) -> T {
        early(error)
    }

    fn count(name: &'static str) -> SiteAction {
        let mut sites = SITES.lock();
        if let Some(site) = sites.get_mut(name) {
            site.hits += 1;
            return site.action;
        }
        let site = Site {
            action: SiteAction::Pass,
            hits: 1,
        };
        sites.insert(name.to_owned(), site);
        SiteAction::Pass
    }
}

#[cfg(test)]
mod tests {
    fn step() -> Result<u32, Box<dyn std::error::Error>> {
        crate::site!("site::tests::plain");
        crate::site!("site::tests::early", |e| Err(e.into()));
        Ok(7)
    }

    #[cfg(not(feature = "failpoints"))]
    #[test]
    fn sites_are_nothing_without_the_feature() {
        assert_eq!(step().unwrap(), 7);
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn sites_count_return_and_panic() {
        use crate::sites::{self, SiteAction};
        use std::io;
        use std::sync::Arc;

        use parking_lot::Mutex;

        let hits = |name: &str| sites::hits().iter().find(|(n, _)| n == name).unwrap().1;

        assert_eq!(step().unwrap(), 7);
        sites::set("site::tests::plain", SiteAction::Yield);
        let kind = io::ErrorKind::StorageFull;
        sites::set("site::tests::early", SiteAction::Return(kind));
        let error = step().unwrap_err().downcast::<io::Error>().unwrap();
        assert_eq!(error.kind(), kind);
        assert_eq!(hits("site::tests::early"), 2);

        sites::set("site::tests::plain", SiteAction::Panic);
        assert!(std::panic::catch_unwind(step).is_err());
        assert_eq!(hits("site::tests::plain"), 3);
        assert_eq!(hits("site::tests::early"), 2);

        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        sites::watch(Some(Arc::new(move |name| seen.lock().push(name))));
        sites::reset();
        assert_eq!(step().unwrap(), 7);
        sites::watch(None);
        assert_eq!(step().unwrap(), 7);
        assert_eq!(*told.lock(), ["site::tests::plain", "site::tests::early"]);

        sites::reset();
        assert!(sites::hits().is_empty());
        assert_eq!(step().unwrap(), 7);
    }
}
