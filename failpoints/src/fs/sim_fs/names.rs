//! One directory: its names as seen, as the media holds them, and what lies between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::power::{Chooser, Fate};

/// Which inode each name stands for.
pub(super) type Names = BTreeMap<Arc<str>, u64>;

/// A change of names that no sync of the directory has made durable.
#[derive(Debug, Clone)]
pub(super) enum NameEffect {
    Create {
        name: Arc<str>,
        inode: u64,
    },
    Rename {
        from: Arc<str>,
        to: Arc<str>,
        inode: u64,
    },
    Remove {
        name: Arc<str>,
        inode: u64,
    },
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirState {
    /// What every reader sees.
    pub(super) current: Names,
    /// What is on the media.
    durable: Names,
    /// Issue number and effect, oldest first; all of them over `durable` give `current`.
    pending: Vec<(u64, NameEffect)>,
}

impl DirState {
    /// A directory which the media holds as it is seen.
    pub(super) fn durable(names: Names) -> Self {
        Self {
            durable: names.clone(),
            current: names,
            pending: Vec::new(),
        }
    }

    pub(super) fn issue(&mut self, number: u64, effect: NameEffect) {
        effect.apply(&mut self.current);
        self.pending.push((number, effect));
    }

    /// Makes the pending changes durable; gives the inodes that may have lost their last name by it.
    pub(super) fn sync(&mut self) -> Vec<u64> {
        let mut unnamed = Vec::new();
        for (_, effect) in self.pending.drain(..) {
            unnamed.extend(effect.apply(&mut self.durable));
        }
        unnamed
    }

    /// Makes one name durable and forgets what was pending for it.
    pub(super) fn insert_durable(&mut self, name: Arc<str>, inode: u64) {
        self.forget(&name);
        self.current.insert(Arc::clone(&name), inode);
        self.durable.insert(name, inode);
    }

    /// Removes one name durably.
    pub(super) fn remove_durable(&mut self, name: &str) {
        self.forget(name);
        self.current.remove(name);
        self.durable.remove(name);
    }

    fn forget(&mut self, name: &str) {
        self.pending.retain(|(_, effect)| !effect.mentions(name));
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn oldest_pending(&self) -> Option<u64> {
        self.pending.first().map(|(number, _)| *number)
    }

    /// Every inode that has a name here or may have one after a power loss.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().map(|(_, effect)| effect.inode());
        let durable = self.durable.values().copied();
        self.current.values().copied().chain(durable).chain(pending)
    }

    /// The names after a power loss.
    pub(super) fn after_power_loss(&self, chooser: &mut Chooser) -> Names {
        let mut names = self.durable.clone();
        for (number, effect) in &self.pending {
            match chooser.next_effect(Some(*number)) {
                Fate::Keep => drop(effect.apply(&mut names)),
                Fate::Drop => {}
                Fate::Torn => effect.apply_torn(&mut names, chooser),
            }
        }
        names
    }
}

impl NameEffect {
    fn inode(&self) -> u64 {
        match self {
            Self::Create { inode, .. }
            | Self::Rename { inode, .. }
            | Self::Remove { inode, .. } => *inode,
        }
    }

    fn mentions(&self, wanted: &str) -> bool {
        match self {
            Self::Create { name, .. } | Self::Remove { name, .. } => **name == *wanted,
            Self::Rename { from, to, .. } => **from == *wanted || **to == *wanted,
        }
    }

    /// Changes `names`; gives the inode that lost a name. A name that stands for another inode by now is left alone:
    /// the effect that would have made it this one's was lost.
    fn apply(&self, names: &mut Names) -> Option<u64> {
        match self {
            Self::Create { name, inode } => names.insert(Arc::clone(name), *inode),
            Self::Rename { from, to, inode } => {
                remove_if(names, from, *inode);
                names.insert(Arc::clone(to), *inode)
            }
            Self::Remove { name, inode } => {
                remove_if(names, name, *inode);
                Some(*inode)
            }
        }
    }

    /// Half of the change: a rename that has made the new name but not removed the old one.
    fn apply_torn(&self, names: &mut Names, chooser: &mut Chooser) {
        if !chooser.keep_piece() {
            return;
        }
        match self {
            Self::Rename { to, inode, .. } if chooser.keep_piece() => {
                names.insert(Arc::clone(to), *inode);
            }
            _ => drop(self.apply(names)),
        }
    }
}

fn remove_if(names: &mut Names, name: &str, inode: u64) {
    if names.get(name) == Some(&inode) {
        names.remove(name);
    }
}
