use std::{iter::Sum, net::IpAddr, sync::Arc, thread::available_parallelism};

use crate::{BuildCx, FairQueue, KnownCallers, PluginError};

/// Bounds the work that forged signatures make.
///
/// Nobody guesses a signature, so that a limit on wrong ones protects nobody and would make others wait. They do cost work.
/// A forged token with RS256 costs about what a forwarded request does, answer and all (52 to 62 microseconds against 44 to
/// 54), with EdDSA or ES256 up to twice as much: whoever sends that many could send requests. ES384 costs five times as much,
/// ES512 seven times, and so do long RSA keys, several keys that have to be tried, and chains of certificates.
///
/// So what costs more than [`Cost::FREE`] is verified in its turn. As many run at once as half the cores, for all policies
/// together, and each lets the other requests of its worker go on before the next begins: whatever is remembered or cheap to
/// verify does not stand behind all that is forged. (Keys beside 64 connections that send forged ES512 tokens, one worker,
/// unoptimised: 0.8 milliseconds in place of 38.) Turns go round between address blocks, and callers who have proven
/// themselves from their address before do not stand behind strangers: see [`FairQueue`]. A right credential waits, and is
/// refused (503) only when its hook's time is over, or the queue has no place for it: of [`Verifications::WAITING_MAX`]
/// places a quarter is for known callers, and of the rest one address has half at most.
pub struct Verifications {
    queue: Arc<Shared>,
    known: KnownCallers,
}

/// One for all policies.
struct Shared(FairQueue);

impl Verifications {
    /// The most requests that wait for their turn.
    pub const WAITING_MAX: usize = 4096;

    /// Those of the policy which is being built.
    pub fn new(cx: &mut BuildCx<'_>) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let queue = || Shared(FairQueue::new((cores / 2).max(1), Self::WAITING_MAX));
        Self { queue: cx.shared("", queue), known: KnownCallers::new(cx) }
    }

    /// Verifies, in its turn where that is expensive. `principal` is whom it would prove.
    ///
    /// # Errors
    /// Too many requests wait already.
    pub async fn run<T>(
        &self,
        cost: Cost,
        address: IpAddr,
        principal: Option<&[u8]>,
        verify: impl FnOnce() -> T,
    ) -> Result<T, PluginError> {
        if cost <= Cost::FREE {
            return Ok(verify());
        }
        let known = principal.filter(|principal| self.known.has(address, Some(principal)));
        let queue = &self.queue.0;
        let turn = queue.acquire(address, known);
        let turn = turn.map_err(|full| PluginError::new(format!("{full} for a signature to be verified")))?.await;
        let verified = verify();
        // With the turn in hand: on one worker nobody would ever find it taken, and all that is ready would verify at once.
        // The runtime's own way to yield also looks for what has come from the network.
        tokio::task::yield_now().await;
        drop(turn);
        Ok(verified)
    }

    /// Remembers that this principal has proven themselves from this address, by a verification of this cost.
    pub fn succeeded(&self, cost: Cost, address: IpAddr, principal: Option<&[u8]>) {
        if cost > Cost::FREE {
            self.known.note(address, principal);
        }
    }

    /// The queue, for tests of plugins.
    #[doc(hidden)]
    pub fn queue(&self) -> &FairQueue {
        &self.queue.0
    }
}

/// The time that a verification takes, in microseconds, as it was measured with aws-lc and OpenSSL; machines differ, and
/// it only has to tell what is cheap from what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u32);

impl Cost {
    /// The most that may be verified at once: about two forwarded requests.
    pub const FREE: Self = Self(100);
    /// A message authentication code.
    pub const MAC: Self = Self(1);
    /// Ed25519.
    pub const ED25519: Self = Self(37);
    /// ECDSA on P-256.
    pub const P256: Self = Self(63);
    /// ECDSA on P-384.
    pub const P384: Self = Self(192);
    /// ECDSA on P-521.
    pub const P521: Self = Self(333);
    /// A chain of certificates: 201 with one CA, 366 with two between it and the client.
    pub const CERTIFICATE_CHAIN: Self = Self(300);

    /// RSA with a modulus of so many bits: 16 with 2048, 57 with 4096, 217 with 8192.
    pub fn rsa(bits: usize) -> Self {
        let kilobits = u32::try_from(bits.div_ceil(1024)).unwrap_or(u32::MAX);
        Self(kilobits.saturating_mul(kilobits).saturating_mul(4))
    }

    /// That of so many.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self(self.0.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.fold(0, |sum, cost| sum.saturating_add(cost.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        net::Ipv4Addr,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{Acquire, testing::Build};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn verifications() -> Verifications {
        Verifications::new(&mut BuildCx::new(&mut Build::new()))
    }

    /// The value, unless a turn is waited for; whoever has had one lets others go first.
    fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let poll = || match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        };
        std::iter::repeat_with(poll).take(2).find_map(|value| value)
    }

    fn all_turns(queue: &FairQueue) -> Vec<Acquire> {
        std::iter::from_fn(|| (queue.available() > 0).then(|| queue.acquire(HERE, None).unwrap())).collect()
    }

    #[test]
    fn expensive_work_waits_for_its_turn_and_leaves_half_of_the_cores() {
        let verifications = verifications();
        let run = |cost| poll(verifications.run(cost, HERE, None, || ())).map(|done| done.expect("a place"));
        let turns = all_turns(verifications.queue());
        assert_eq!(turns.len(), (available_parallelism().unwrap().get() / 2).max(1));
        for cost in [Cost::default(), Cost::MAC, Cost::ED25519, Cost::P256, Cost::rsa(2048), Cost::rsa(4096)] {
            assert!(run(cost).is_some(), "{cost:?}");
        }
        for cost in [Cost::P256.times(2), Cost::P384, Cost::P521, Cost::rsa(8192), Cost::CERTIFICATE_CHAIN] {
            assert!(run(cost).is_none(), "{cost:?}");
        }
        assert_eq!([Cost::P256, Cost::ED25519].into_iter().sum::<Cost>(), Cost::FREE);
        drop(turns);
        assert!(run(Cost::P384).is_some());
    }

    #[test]
    fn each_lets_the_rest_of_its_worker_go_on_and_finds_nobody_else_verifying() {
        let verifications = verifications();
        let mut turns = all_turns(verifications.queue());
        // One is left.
        drop(turns.pop());
        let verified = Cell::new(0);
        let run = || verifications.run(Cost::P384, HERE, None, || verified.set(verified.get() + 1));
        let (mut one, mut two) = (pin!(run()), pin!(run()));
        let poll =
            |future: Pin<&mut dyn Future<Output = _>>| future.poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!poll(one.as_mut()), "it has verified, and lets others go first");
        assert!(!poll(two.as_mut()), "among them none that verifies");
        assert_eq!(verified.get(), 1);
        assert!(poll(one.as_mut()));
        assert!(!poll(two.as_mut()));
        assert_eq!(verified.get(), 2);
        assert!(poll(two.as_mut()));
    }

    #[test]
    fn a_known_caller_has_a_place_where_strangers_have_none() {
        let verifications = verifications();
        verifications.succeeded(Cost::P384, HERE, Some(b"ada"));
        let queue = verifications.queue();
        let _turns = all_turns(queue);
        let from = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let waiting: Vec<_> = (0..9_000).filter_map(|number| queue.acquire(from(number), None).ok()).collect();
        assert_eq!(waiting.len(), Verifications::WAITING_MAX / 4 * 3);
        let asked = |principal| poll(verifications.run(Cost::P384, HERE, principal, || ()));
        assert!(matches!(asked(Some(b"grace")), Some(Err(_))), "the queue is full");
        assert!(asked(Some(b"ada")).is_none(), "she waits");
    }
}
