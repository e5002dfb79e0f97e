use std::{collections::HashMap, time::Duration};

use super::{
    charges::{counters, rule},
    subject::{StoreUnderTest, ok},
};
use crate::store::{Algorithm, Budget, Charge, ChargeMode, Rule};

/// The meaning of a rule, in as few words as possible and without regard to cost. Times are microseconds.
#[derive(Clone)]
enum Model {
    /// `level` counts parts of `1 / per` of a unit.
    Bucket {
        limit: u128,
        per: u128,
        burst: u128,
        level: u128,
        at: u128,
    },
    Windows {
        limit: u128,
        window_ms: u128,
        units: HashMap<u128, u128>,
    },
    Window {
        limit: u128,
        window: u128,
        began: Option<u128>,
        units: u128,
    },
}

impl Model {
    fn new(rule: Rule) -> Self {
        match rule.algorithm() {
            Algorithm::Gcra { limit, per_us, burst } => {
                let [limit, per, burst] = [limit, per_us, burst].map(u128::from);
                Self::Bucket { limit, per, burst, level: burst * per, at: 0 }
            }
            Algorithm::SlidingWindow { limit, window_ms } => {
                Self::Windows { limit: limit.into(), window_ms: window_ms.into(), units: HashMap::new() }
            }
            Algorithm::FixedWindow { limit, window_us } => {
                Self::Window { limit: limit.into(), window: window_us.into(), began: None, units: 0 }
            }
        }
    }

    /// The units that could be taken at this moment.
    fn remaining(&self, now: u128) -> u128 {
        match self {
            Self::Bucket { limit, per, burst, level, at } => (level + (now - at) * limit).min(burst * per) / per,
            Self::Windows { limit, window_ms, units } => {
                let (index, gone_ms) = (now / 1000 / window_ms, now / 1000 % window_ms);
                let of = |index| units.get(&index).copied().unwrap_or(0);
                let before = index.checked_sub(1).map_or(0, of);
                limit.saturating_sub(of(index) + (before * (window_ms - gone_ms)).div_ceil(*window_ms))
            }
            Self::Window { limit, window, began, units } => match began {
                Some(began) if now < began + window => limit - units,
                _ => *limit,
            },
        }
    }

    fn take(&mut self, now: u128, cost: u128) {
        match self {
            Self::Bucket { limit, per, burst, level, at } => {
                *level = (*level + (now - *at) * *limit).min(*burst * *per) - cost * *per;
                *at = now;
            }
            Self::Windows { window_ms, units, .. } => *units.entry(now / 1000 / *window_ms).or_default() += cost,
            Self::Window { window, began, units, .. } => {
                if began.is_none_or(|began| now >= began + *window) {
                    (*began, *units) = (Some(now), 0);
                }
                *units += cost;
            }
        }
    }

    fn give_back(&mut self, now: u128, cost: u128) {
        match self {
            Self::Bucket { limit, per, burst, level, at } => {
                *level = (*level + (now - *at) * *limit + cost * *per).min(*burst * *per);
                *at = now;
            }
            Self::Windows { window_ms, units, .. } => {
                let current = units.entry(now / 1000 / *window_ms).or_default();
                *current = current.saturating_sub(cost);
            }
            Self::Window { window, began, units, .. } => {
                *units = units.saturating_sub(cost);
                *began = began.filter(|began| now < began + *window && *units > 0);
            }
        }
    }

    fn check(&self, now: u128, cost: u128, budget: &Budget, what: &str) {
        assert_eq!(u128::from(budget.remaining), self.remaining(now), "{what}: remaining at {now}");
        if budget.is_within {
            return assert!(budget.retry_after.is_zero(), "{what}");
        }
        let retry = now + budget.retry_after.as_micros();
        assert!(self.remaining(retry) >= cost, "{what}: it would not fit after the time that was told");
        assert!(self.remaining(retry - 1) < cost, "{what}: it would fit before the time that was told");
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(super) async fn counting_agrees_with_a_model(test: &dyn StoreUnderTest) {
    if test.stopped_clock().is_none() {
        return;
    }
    let ms = Duration::from_millis;
    let rules = [
        rule(Rule::gcra(3, Duration::from_secs(1), 5)),
        rule(Rule::gcra(7, ms(13), 1)),
        rule(Rule::gcra(1_000_003, Duration::from_secs(1), 100)),
        rule(Rule::sliding_window(10, ms(100))),
        rule(Rule::sliding_window(3, ms(7))),
        rule(Rule::fixed_window(10, ms(100))),
        rule(Rule::fixed_window(1, ms(33))),
    ];
    let (store, counters, mut numbers) = (test.store(), counters(), Numbers(2));
    let mut models = rules.map(Model::new);
    let mut outcomes = [0_usize; 2];
    for step in 0..8_000 {
        let pause = [0, 1, 999, 1_000, 5_000, 33_333, 100_000, 333_334][usize::try_from(numbers.below(8)).unwrap_or(0)];
        // Most charges come in bursts.
        if numbers.below(3) == 0 {
            test.pass(Duration::from_micros(pause)).await;
        }
        let now = test.stopped_clock().map_or(0, |now| now.as_micros());
        let chosen: Vec<_> = (0..rules.len()).filter(|_| numbers.below(3) == 0).collect();
        let costs: Vec<_> = chosen.iter().map(|at| 1 + numbers.below(rules[*at].most().min(4))).collect();
        let names: Vec<_> = chosen.iter().map(|at| [u8::try_from(*at).unwrap_or(0)]).collect();
        let charges: Vec<_> = (chosen.iter().zip(&costs).zip(&names))
            .map(|((at, cost), name)| Charge { counter: counters.counter(name), rule: rules[*at], cost: *cost })
            .collect();
        if numbers.below(8) == 0 {
            ok(store.charge(&charges, ChargeMode::GiveBack)).await;
            chosen.iter().zip(&costs).for_each(|(at, cost)| models[*at].give_back(now, u128::from(*cost)));
        }
        ok(store.charge(&charges, ChargeMode::Peek)).await;
        let charged = ok(store.charge(&charges, ChargeMode::AllOrNothing)).await;
        let fits = chosen.iter().zip(&costs).all(|(at, cost)| models[*at].remaining(now) >= u128::from(*cost));
        assert_eq!(charged.is_granted, fits, "step {step}");
        outcomes[usize::from(fits)] += 1;
        for ((at, cost), budget) in chosen.iter().zip(&costs).zip(charged.budgets.iter()) {
            if fits {
                models[*at].take(now, u128::from(*cost));
            }
            models[*at].check(now, u128::from(*cost), budget, &format!("step {step}, {:?}", rules[*at]));
        }
    }
    assert!(outcomes.iter().all(|times| *times > 800), "both outcomes are tested: {outcomes:?}");
}
