//! The tests that every [`Store`](crate::Store) passes, and a store at the end of a wire to test plugins with.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use portcullis_plugin::{BoxFuture, LocalStore, Store, store::SimulatedClock, testing::store::{CONFORMANCE, StoreUnderTest}};
//!
//! struct Local(Arc<LocalStore>, SimulatedClock);
//!
//! impl StoreUnderTest for Local {
//!     fn store(&self) -> Arc<dyn Store> {
//!         self.0.clone()
//!     }
//!     fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
//!         self.1.advance(time);
//!         Box::pin(async {})
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! for (name, test) in CONFORMANCE {
//!     println!("{name}");
//!     let clock = SimulatedClock::default();
//!     test(&Local(Arc::new(LocalStore::simulated(1 << 20, &clock)), clock)).await;
//! }
//! # Ok::<(), std::io::Error>(()) })?;
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::BoxFuture;

mod channels;
mod charges;
mod distant;
mod errors;
mod members;
mod model;
mod subject;
mod values;

pub use distant::DistantStore;
pub use subject::StoreUnderTest;

/// A test of [`CONFORMANCE`]: it panics where the store does something else than it should.
pub type StoreTest = for<'t> fn(&'t dyn StoreUnderTest) -> BoxFuture<'t, ()>;

/// The tests that every store passes, by name. Each needs a store of its own.
pub const CONFORMANCE: &[(&str, StoreTest)] = &[
    ("a value is there until its end", |store| Box::pin(values::a_value_is_there_until_its_end(store))),
    ("several values are read at once", |store| Box::pin(values::several_values_are_read_at_once(store))),
    ("a condition decides whether a value is put", |store| Box::pin(values::a_condition_decides(store))),
    ("of several who put or take at once one does", |store| Box::pin(values::one_of_several_does(store))),
    ("a value that is replaced in turns is replaced by all", |store| Box::pin(values::replaced_in_turns(store))),
    ("spaces and parts are apart", |store| Box::pin(values::spaces_and_parts_are_apart(store))),
    ("a counter adds up and ends", |store| Box::pin(charges::a_counter_adds_up_and_ends(store))),
    ("a limit takes as many as it says", |store| Box::pin(charges::a_limit_takes_as_many_as_it_says(store))),
    ("of several charges all are taken or none", |store| Box::pin(charges::all_are_taken_or_none(store))),
    ("modes of charging", |store| Box::pin(charges::modes(store))),
    ("no limit is exceeded at once", |store| Box::pin(charges::no_limit_is_exceeded_at_once(store))),
    ("counting agrees with a model", |store| Box::pin(model::counting_agrees_with_a_model(store))),
    ("a set has its members until their ends", |store| Box::pin(members::a_set_has_its_members(store))),
    ("a set is bounded", |store| Box::pin(members::a_set_is_bounded(store))),
    ("a lock has one holder", |store| Box::pin(members::a_lock_has_one_holder(store))),
    ("places are given to so many", |store| Box::pin(members::places_are_given_to_so_many(store))),
    ("messages reach all who are subscribed", |store| Box::pin(channels::messages_reach_all(store))),
    ("requests beyond the limits are invalid", |store| Box::pin(errors::invalid(store))),
    ("a full space refuses and forgets nothing", |store| Box::pin(errors::full(store))),
    ("a server that does not answer is an error", |store| Box::pin(errors::unreachable(store))),
];

#[cfg(test)]
mod tests;
