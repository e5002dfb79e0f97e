use super::*;
use crate::{
    Algorithm, PublishedKeys,
    testing::{Signer, jwks},
};

const POLICY: [u8; 32] = [1; 32];
const NOW: UnixTime = UnixTime(1000);
const LATER: UnixTime = UnixTime(2000);

fn set(signers: &[(&Signer, &str)]) -> KeySet {
    let keys: Vec<_> = signers.iter().map(|(signer, kid)| signer.jwk(kid)).collect();
    PublishedKeys::from_jwks(&jwks(&keys)).unwrap().keys
}

fn signer() -> Signer {
    Signer::new(Algorithm::EdDsa)
}

#[test]
fn a_verified_token_is_found_until_it_ends() {
    let (tokens, keys) = (VerifiedTokens::new(100, 1 << 20), set(&[(&signer(), "k")]));
    let digest = TokenDigest::of(&POLICY, b"token");
    assert!(tokens.find(&digest, &keys, NOW).is_none());
    tokens.keep(digest, 5, &keys.keys()[0], LATER, "ann");
    assert_eq!(tokens.find(&digest, &keys, NOW).unwrap().value, "ann");
    assert!(tokens.find(&digest, &keys, LATER).is_none(), "never past its end");
    assert!(tokens.is_empty(), "and then it is gone");
}

#[test]
fn another_policy_or_token_finds_nothing() {
    let (tokens, keys) = (VerifiedTokens::new(100, 1 << 20), set(&[(&signer(), "k")]));
    tokens.keep(TokenDigest::of(&POLICY, b"token"), 5, &keys.keys()[0], LATER, ());
    for digest in [TokenDigest::of(&[2; 32], b"token"), TokenDigest::of(&POLICY, b"Token")] {
        assert!(tokens.find(&digest, &keys, NOW).is_none());
    }
}

#[test]
fn tokens_of_a_withdrawn_key_are_gone_and_the_rest_stays() {
    let (old, new) = (signer(), signer());
    let tokens = VerifiedTokens::new(100, 1 << 20);
    let before = set(&[(&old, "old")]);
    let digest = TokenDigest::of(&POLICY, b"token");
    tokens.keep(digest, 5, &before.keys()[0], LATER, ());

    let both = set(&[(&new, "new"), (&old, "old")]);
    assert!(tokens.find(&digest, &both, NOW).is_some());
    assert!(tokens.find(&digest, &both, NOW).is_some());
    assert!(tokens.find(&digest, &before, NOW).is_some(), "a request that still has the older set");

    let after = set(&[(&new, "new")]);
    assert!(tokens.find(&digest, &after, NOW).is_none());
    assert!(tokens.find(&digest, &both, NOW).is_none(), "and it stays gone");
}

#[test]
fn another_key_under_the_same_name_is_another_key() {
    let tokens = VerifiedTokens::new(100, 1 << 20);
    let before = set(&[(&signer(), "k")]);
    let digest = TokenDigest::of(&POLICY, b"token");
    tokens.keep(digest, 5, &before.keys()[0], LATER, ());
    assert!(tokens.find(&digest, &set(&[(&signer(), "k")]), NOW).is_none());
}

#[test]
fn it_is_bounded_by_entries_and_by_bytes() {
    let keys = set(&[(&signer(), "k")]);
    let keep = |tokens: &VerifiedTokens<()>, count: u32, bytes: usize| {
        for number in 0..count {
            let digest = TokenDigest::of(&POLICY, &number.to_be_bytes());
            tokens.keep(digest, bytes, &keys.keys()[0], LATER, ());
        }
    };
    let by_bytes = VerifiedTokens::new(10_000, 100_000);
    keep(&by_bytes, 10_000, 1000);
    assert!(by_bytes.len() <= 100, "{}", by_bytes.len());
    assert!(!by_bytes.is_empty());
    keep(&by_bytes, 10_000, 50_000);
    assert!(by_bytes.len() <= 100, "one that would take half of the room is not kept");

    let by_entries = VerifiedTokens::new(100, 1 << 30);
    keep(&by_entries, 10_000, 0);
    assert!((50..=100).contains(&by_entries.len()), "{}", by_entries.len());
    by_entries.clear();
    assert!(by_entries.is_empty());
}

#[test]
fn a_hit_allocates_nothing() {
    let (tokens, keys) = (VerifiedTokens::new(100, 1 << 20), set(&[(&signer(), "k")]));
    let token = vec![b'x'; 1000];
    tokens.keep(TokenDigest::of(&POLICY, &token), token.len(), &keys.keys()[0], LATER, ());
    let hit = || assert!(tokens.find(&TokenDigest::of(&POLICY, &token), &keys, NOW).is_some());
    hit();
    assert_eq!(allocation_counter::measure(hit).count_total, 0);
}
