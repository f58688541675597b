//! The levels of all filters as numbers: each text once, however many filters have it.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// The number of a level.
pub(super) type LevelId = u32;

/// The level `+`.
pub(super) const PLUS: LevelId = 0;

/// The level `#`.
pub(super) const HASH: LevelId = 1;

/// Numbers given to the wildcards.
const RESERVED: LevelId = 2;

/// The texts of levels and their numbers.
#[derive(Debug, Default)]
pub(super) struct Levels {
    texts: Vec<Text>,
    /// Numbers that no level has now.
    free: Vec<LevelId>,
    by_text: HashTable<LevelId>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Text {
    text: Box<str>,
    /// Nodes that stand for this level.
    uses: u32,
}

impl Levels {
    /// The number of a level of a filter; `None` if no filter has it.
    pub(super) fn find(&self, text: &str) -> Option<LevelId> {
        match text {
            "+" => Some(PLUS),
            "#" => Some(HASH),
            text => self.find_literal(text),
        }
    }

    /// The number of a level of a topic name.
    pub(super) fn find_literal(&self, text: &str) -> Option<LevelId> {
        let hash = self.hasher.hash_one(text);
        self.by_text.find(hash, |id| *self.texts[index(*id)].text == *text).copied()
    }

    /// The number of a level that one more node stands for.
    pub(super) fn take(&mut self, text: &str) -> LevelId {
        if let Some(id) = self.find(text) {
            if id >= RESERVED {
                self.texts[index(id)].uses += 1;
            }
            return id;
        }
        let entry = Text { text: text.into(), uses: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.texts[index(id)] = entry;
                id
            }
            None => {
                self.texts.push(entry);
                // As many levels as this take more memory than there is.
                LevelId::try_from(self.texts.len() - 1).map_or(LevelId::MAX, |id| id + RESERVED)
            }
        };
        let (texts, hasher) = (&self.texts, &self.hasher);
        let hash_of = |id: &LevelId| hasher.hash_one(&*texts[index(*id)].text);
        self.by_text.insert_unique(hasher.hash_one(text), id, hash_of);
        id
    }

    /// A node no longer stands for a level.
    pub(super) fn release(&mut self, id: LevelId) {
        if id < RESERVED {
            return;
        }
        let entry = &mut self.texts[index(id)];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        if let Ok(found) = self.by_text.find_entry(self.hasher.hash_one(&*text), |it| *it == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// How many texts there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }
}

fn index(id: LevelId) -> usize {
    (id - RESERVED) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_while_anybody_uses_it() {
        let mut levels = Levels::default();
        let (a, b) = (levels.take("a"), levels.take("b"));
        assert_ne!(a, b);
        assert_eq!(levels.take("a"), a);
        levels.release(a);
        assert_eq!(levels.find("a"), Some(a));
        levels.release(a);
        assert_eq!(levels.find("a"), None);
        assert_eq!(levels.take("c"), a);
        assert_eq!(levels.find("b"), Some(b));
        assert_eq!(levels.len(), 2);
    }

    #[test]
    fn wildcards_are_not_texts() {
        let mut levels = Levels::default();
        assert_eq!((levels.take("+"), levels.take("#")), (PLUS, HASH));
        levels.release(PLUS);
        assert_eq!(levels.find("+"), Some(PLUS));
        assert_eq!(levels.len(), 0);
    }
}
