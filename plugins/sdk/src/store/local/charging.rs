use std::time::Duration;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{
    LocalStore, SHARDS,
    counting::{Cell, Counting, TooMuch},
    name::{Name, Shape},
    shard::Shard,
    table::{Refused, Room, Table},
};
use crate::store::{
    clock::micros,
    error::StoreError,
    request::{Charge, ChargeMode, Charged, Count},
    rule::Algorithm,
};

impl Table {
    pub(super) fn add(&mut self, name: Name, by: u64, keep: Duration, room: Room, now: u64) -> Result<Count, Refused> {
        let known =
            self.cell(&name, now).unwrap_or(Cell { ends: now.saturating_add(micros(keep)), first: 0, second: 0 });
        let cell = Cell { first: known.first.saturating_add(by), ..known };
        if cell.ends > now {
            self.reserve_cell(name, room, now)?;
            self.put_cell(name, cell, now);
        }
        Ok(Count { value: cell.first, left: Duration::from_micros(cell.ends - now) })
    }
}

/// The shards of a charge's counters, locked in one order, whoever asks.
struct Locked<'s>(SmallVec<[(usize, MutexGuard<'s, Shard>); 3]>);

impl<'s> Locked<'s> {
    fn new(store: &'s LocalStore, names: &[Name]) -> Self {
        let mut shards: SmallVec<[usize; 3]> = names.iter().map(|name| name.shard(SHARDS)).collect();
        shards.sort_unstable();
        shards.dedup();
        Self(shards.into_iter().map(|at| (at, store.shards[at].lock())).collect())
    }

    fn of(&mut self, name: Name) -> &mut Shard {
        let at = name.shard(SHARDS);
        let found = self.0.iter_mut().find(|(of, _)| *of == at);
        &mut found.expect("all shards of the names are locked").1
    }
}

type Outcomes = SmallVec<[Result<Counting, TooMuch>; 3]>;

/// One counter after its charge; `share` is what every counter has for [`ChargeMode::UpTo`].
fn outcome(cost: u64, counting: Counting, mode: ChargeMode, share: u64) -> Result<Counting, TooMuch> {
    match mode {
        ChargeMode::AllOrNothing | ChargeMode::Peek => counting.take(cost),
        // Where nothing can be taken, one unit says when something can.
        ChargeMode::UpTo => counting.take(share.max(1)),
        ChargeMode::GiveBack => Ok(counting.give_back(cost)),
    }
}

impl LocalStore {
    pub(super) fn charge_now(&self, charges: &[Charge<'_>], mode: ChargeMode) -> Result<Charged, StoreError> {
        let names: SmallVec<[Name; 3]> = charges.iter().map(|charge| self.counter_name(charge)).collect();
        if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
            return Err(StoreError::invalid("one counter is charged twice at once"));
        }
        let mut locked = Locked::new(self, &names);
        let now = self.clock.now();
        let before: SmallVec<[Counting; 3]> = (charges.iter().zip(&names))
            .map(|(charge, name)| {
                let table = locked.of(*name).table_there(charge.counter.key().space().id());
                Counting::new(charge.rule, table.and_then(|table| table.cell(name, now)), now)
            })
            .collect();
        let share = charges.iter().zip(&before).map(|(charge, counting)| charge.cost.min(counting.remaining())).min();
        let share = share.unwrap_or(0);
        let after: Outcomes = (charges.iter().zip(&before))
            .map(|(charge, counting)| outcome(charge.cost, *counting, mode, share))
            .collect();
        let is_granted = after.iter().all(Result::is_ok) && (mode != ChargeMode::UpTo || share > 0);
        let is_kept = is_granted && mode != ChargeMode::Peek;
        if is_kept {
            let states: SmallVec<[Cell; 3]> = after.iter().flatten().map(|counting| counting.cell()).collect();
            self.keep_all(&mut locked, charges, &names, &states, now)?;
        }
        let budgets = before.iter().zip(&after).map(|(before, after)| match after {
            Ok(after) if is_kept => after.budget(None),
            Ok(_) => before.budget(None),
            Err(refused) => before.budget(Some(refused)),
        });
        let taken = if mode == ChargeMode::UpTo && is_granted { share } else { 0 };
        Ok(Charged { is_granted, taken, budgets: budgets.collect() })
    }

    fn counter_name(&self, charge: &Charge<'_>) -> Name {
        let shape = match charge.rule.algorithm() {
            Algorithm::Gcra { .. } => Shape::Gcra,
            Algorithm::SlidingWindow { .. } => Shape::SlidingWindow,
            Algorithm::FixedWindow { .. } => Shape::FixedWindow,
        };
        self.name(charge.counter.key(), shape)
    }

    /// Keeps all states, or none where one has no room.
    fn keep_all(
        &self,
        locked: &mut Locked<'_>,
        charges: &[Charge<'_>],
        names: &[Name],
        states: &[Cell],
        now: u64,
    ) -> Result<(), StoreError> {
        let spaces = charges.iter().map(|charge| charge.counter.key().space());
        for ((space, name), state) in spaces.clone().zip(names).zip(states) {
            let table = locked.of(*name).table(space.id(), now);
            if state.ends > now && table.reserve_cell(*name, self.room(space), now).is_err() {
                for (space, name) in spaces.zip(names) {
                    locked.of(*name).table(space.id(), now).release_cell(name, now);
                }
                return Err(Refused.of(space));
            }
        }
        for ((space, name), state) in spaces.zip(names).zip(states) {
            locked.of(*name).table(space.id(), now).put_cell(*name, *state, now);
        }
        Ok(())
    }
}
