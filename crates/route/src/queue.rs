//! A bounded line of requests with a fair share for each key.
//!
//! The more urgent class goes first, always. Within a class keys take turns by deficit round robin
//! (Shreedhar and Varghese, 1995): each turn gives a key [`QUANTUM`] to spend, and a request costs its
//! prompt's tokens, so that a key with long prompts gets fewer turns and not more of the engine; but at
//! least a whole turn, for it takes a place in the engine however short it is, and a key with hundreds of
//! short ones would have them all served in its first turn. Within a key the first come is served first.
//!
//! When the line is full, who has most of it makes room: a request in a class below the newcomer's, else
//! the last of the key that has the most waiting, if that is at least two more than the newcomer's own.
//! So no key keeps others out by being early.
//!
//! Invariants: at most as many wait as the caller says; each is taken, evicted or removed once. Finding
//! something by its ticket looks through the line, which is bounded and used only when an engine is full.

use std::collections::VecDeque;

use crate::overflow::Class;

/// What a turn is worth, in tokens: an ordinary prompt. The least that a request costs.
pub const QUANTUM: u32 = 1_024;

/// What one request costs at most: 64 turns, so that taking one looks at no key more often.
pub const COST_MAX: u32 = 64 * QUANTUM;

/// Names an entry as long as it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What takes a place in the line.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// How urgent it is.
    pub class: Class,
    /// Whose it is.
    pub key: u64,
    /// What it costs, in tokens; less than [`QUANTUM`] counts as that.
    pub cost: u32,
}

/// The line.
#[derive(Debug)]
pub struct Line<T> {
    classes: [Turns<T>; Class::ALL.len()],
    tickets: u64,
    len: usize,
}

/// Keys of one class, in the order of their turns.
#[derive(Debug)]
struct Turns<T>(VecDeque<Flow<T>>);

/// One key's requests; never empty.
#[derive(Debug)]
struct Flow<T> {
    key: u64,
    deficit: u32,
    waiting: VecDeque<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    cost: u32,
    item: T,
}

/// Something took a place.
#[derive(Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Its ticket.
    pub ticket: Ticket,
    /// What had to leave for it.
    pub evicted: Option<T>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        let classes = std::array::from_fn(|_| Turns(VecDeque::new()));
        Self { classes, tickets: 0, len: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of a class wait.
    pub fn waiting(&self, class: Class) -> usize {
        self.classes[class as usize].0.iter().map(|flow| flow.waiting.len()).sum()
    }

    /// Takes a place, if there is one or somebody has to leave it; else gives the item back.
    pub fn push(&mut self, place: Place, item: T, length_max: usize) -> Result<Placed<T>, T> {
        let evicted = if self.len < length_max {
            None
        } else {
            match self.make_room(place) {
                Some(evicted) if self.len < length_max => Some(evicted),
                // The limit has become smaller: one that left is gone, and this one does not get in.
                Some(_) | None => return Err(item),
            }
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let entry = Entry { ticket, cost: place.cost.clamp(QUANTUM, COST_MAX), item };
        let turns = &mut self.classes[place.class as usize].0;
        match turns.iter_mut().find(|flow| flow.key == place.key) {
            Some(flow) => flow.waiting.push_back(entry),
            None => turns.push_back(Flow {
                key: place.key,
                deficit: 0,
                waiting: VecDeque::from([entry]),
            }),
        }
        self.len += 1;
        Ok(Placed { ticket, evicted })
    }

    /// Who is next.
    pub fn pop(&mut self) -> Option<T> {
        let next = self.classes.iter_mut().find_map(Turns::pop)?;
        self.len -= 1;
        Some(next)
    }

    /// Who was next had no use for it: its key, if others of it wait, has what it cost back.
    pub fn give_back(&mut self, place: Place) {
        let turns = &mut self.classes[place.class as usize].0;
        if let Some(flow) = turns.iter_mut().find(|flow| flow.key == place.key) {
            flow.deficit = flow.deficit.saturating_add(place.cost.clamp(QUANTUM, COST_MAX));
        }
    }

    /// Somebody leaves the line. None: it has left already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let found = self.classes.iter_mut().find_map(|turns| turns.remove(ticket))?;
        self.len -= 1;
        Some(found)
    }

    fn make_room(&mut self, place: Place) -> Option<T> {
        let below = Class::ALL.into_iter().rev().filter(|class| *class > place.class);
        for class in below {
            if let Some(evicted) = self.classes[class as usize].evict(0) {
                self.len -= 1;
                return Some(evicted);
            }
        }
        let turns = &mut self.classes[place.class as usize];
        let own = turns.0.iter().find(|flow| flow.key == place.key);
        let own = own.map_or(0, |flow| flow.waiting.len());
        let evicted = turns.evict(own + 1)?;
        self.len -= 1;
        Some(evicted)
    }
}

impl<T> Turns<T> {
    fn pop(&mut self) -> Option<T> {
        loop {
            let flow = self.0.front_mut()?;
            let cost = flow.waiting.front().map_or(0, |entry| entry.cost);
            if flow.deficit < cost {
                flow.deficit = flow.deficit.saturating_add(QUANTUM);
                self.0.rotate_left(1);
                continue;
            }
            flow.deficit -= cost;
            let entry = flow.waiting.pop_front();
            // A key with nothing left to send saves nothing up.
            if flow.waiting.is_empty() {
                self.0.pop_front();
            }
            return entry.map(|entry| entry.item);
        }
    }

    fn remove(&mut self, ticket: Ticket) -> Option<T> {
        for at in 0..self.0.len() {
            let flow = &mut self.0[at];
            let Some(place) = flow.waiting.iter().position(|entry| entry.ticket == ticket) else {
                continue;
            };
            let entry = flow.waiting.remove(place);
            if flow.waiting.is_empty() {
                self.0.remove(at);
            }
            return entry.map(|entry| entry.item);
        }
        None
    }

    /// The last of the key that has the most waiting, if it has more than so many.
    fn evict(&mut self, more_than: usize) -> Option<T> {
        let flows = self.0.iter().enumerate();
        let (at, most) =
            flows.map(|(at, flow)| (at, flow.waiting.len())).max_by_key(|(_, n)| *n)?;
        if most <= more_than {
            return None;
        }
        let flow = &mut self.0[at];
        let entry = flow.waiting.pop_back();
        if flow.waiting.is_empty() {
            self.0.remove(at);
        }
        entry.map(|entry| entry.item)
    }
}

#[cfg(test)]
mod tests;
