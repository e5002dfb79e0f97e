//! Sets with odd keys, issuers that fail, and what policies with different settings make of one place.

use super::*;

fn span(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

const UNCONFIRMED: fn() -> Result<bool, KeysUnavailable> = || Err(KeysUnavailable::Unconfirmed("test".into()));

#[tokio::test(start_paused = true)]
async fn odd_keys_keep_neither_withdrawn_keys_alive_nor_new_ones_away() {
    let (issuer, old, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[old.jwk("old")]);
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    let leaked = signer();
    let mut private = leaked.jwk("private");
    private["d"] = "AQAB".into();
    let secret = serde_json::json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" });
    let encrypts = serde_json::json!({ "kty": "RSA", "use": "enc" });
    let broken = serde_json::json!({ "kty": "RSA", "n": 1, "kid": "broken" });
    let keys = [Value::Null, broken, secret, private, leaked.jwk("leaked"), encrypts, new.jwk("new")];
    issuer.publishes(&keys);
    seconds(600).await;
    let skipped = || source.place.counters.skipped.each_ref().map(portcullis_plugin::Counter::value);
    assert_eq!((issuer.fetches(), skipped()), (2, [2, 0, 0, 3]), "invalid, weak, ambiguous, private");
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
    for (signer, kid) in [(&old, "old"), (&leaked, "leaked")] {
        assert_eq!(verifies(&source, signer, Some(kid)).await, Ok(false), "{kid}");
    }
    assert_eq!((issuer.fetches(), skipped()), (4, [6, 0, 0, 9]), "for as long as they are published");
}

#[tokio::test(start_paused = true)]
async fn a_key_serves_no_longer_than_max_refresh_where_the_issuer_answers_nonsense() {
    let settings = Settings { refresh: span(60), max_refresh: span(3600), ..Settings::default() };
    for text in ["<html>", "{\"keys\":{}}"] {
        let (issuer, key) = (Arc::new(Issuer::default()), signer());
        issuer.publishes(&[key.jwk("1")]);
        let source = with(&issuer, settings);
        tokio::spawn(source.clone().keep_fresh());
        seconds(1).await;
        issuer.publishes_text(text);
        seconds(3590).await;
        assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true), "{text}");
        seconds(20).await;
        assert_eq!(source.current().unwrap_err(), KeysUnavailable::Stale("test".into()), "{text}");
        issuer.publishes(&[key.jwk("1")]);
        seconds(31).await;
        assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_place_of_an_answer_is_an_outage() {
    let settings = Settings { refresh: span(60), max_refresh: span(3600), ..Settings::default() };
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = with(&issuer, settings);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    issuer.fails_with(502);
    seconds(86_400).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true), "`max_stale`, and not `max_refresh`");
    seconds(100).await;
    assert!(source.current().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_first_retry_comes_in_a_second_and_the_later_ones_up_to_the_cooldown() {
    let issuer = Arc::new(Issuer::default());
    let source = source(&issuer);
    source.clone().first().await;
    tokio::spawn(source.clone().keep_fresh());
    let mut pauses = Vec::new();
    let mut last = Instant::now();
    while pauses.len() < 9 {
        let before = issuer.fetches();
        while issuer.fetches() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        pauses.push(last.elapsed().as_secs_f64());
        last = Instant::now();
    }
    for (pause, longest) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]) {
        assert!((longest * 0.75 - 0.02..=longest + 0.02).contains(pause), "{pauses:?}");
    }
    assert!(pauses.windows(2).any(|two| (two[0] - two[1]).abs() > 0.001 && two[0] > 20.0), "jitter: {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_not_decided_while_the_set_cannot_be_fetched() {
    let (issuer, key, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    source.clone().first().await;
    tokio::spawn(source.clone().keep_fresh());
    // The fetches that they cause succeed: they are refused, and the one that was unknown causes none again.
    for kid in ["a", "b", "a"] {
        assert_eq!(verifies(&source, &new, Some(kid)).await, Ok(false));
    }
    assert_eq!(issuer.fetches(), 3);
    seconds(31).await;
    issuer.dies();
    assert_eq!(verifies(&source, &new, Some("c")).await, UNCONFIRMED(), "the fetch that it causes fails");
    assert_eq!(verifies(&source, &new, Some("a")).await, UNCONFIRMED(), "it may have been published since");
    assert_eq!(verifies(&source, &new, None).await, UNCONFIRMED());
    let before = issuer.fetches();
    for number in 0..1000 {
        assert_eq!(verifies(&source, &new, Some(&format!("flood-{number}"))).await, UNCONFIRMED());
        assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true), "the flood is nobody else's");
    }
    assert_eq!(issuer.fetches(), before, "nor does it fetch");
    // Back again: the next attempt in the background decides.
    issuer.publishes(&[new.jwk("new")]);
    seconds(2).await;
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn other_settings_keep_the_keys_of_the_place() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let place = place(&issuer);
    seen(&place, Settings::default()).first().await;
    issuer.dies();
    // A reload during the outage.
    let changed = seen(&place, Settings { refresh: span(120), cooldown: span(5), ..Settings::default() });
    changed.clone().first().await;
    assert_eq!((verifies(&changed, &key, Some("1")).await, issuer.fetches()), (Ok(true), 1));
}

#[tokio::test(start_paused = true)]
async fn each_policy_judges_the_age_of_shared_keys_by_its_own_settings() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes_for(&[key.jwk("1")], Some(86_400));
    let place = place(&issuer);
    let patient = seen(&place, Settings::default());
    let strict = seen(
        &place,
        Settings { refresh: span(60), max_refresh: span(300), max_stale: span(60), ..Settings::default() },
    );
    for source in [&patient, &strict] {
        tokio::spawn(source.clone().keep_fresh());
    }
    seconds(1).await;
    issuer.publishes_for(&[], Some(86_400));
    seconds(300).await;
    for source in [&patient, &strict] {
        assert_eq!(verifies(source, &key, Some("1")).await, Ok(false), "fetched for one, and known to both");
    }
    assert_eq!(issuer.fetches(), 3, "the first, that of the strict one, and one for an unknown key");
    issuer.dies();
    seconds(400).await;
    assert!(patient.current().is_ok() && strict.current().is_err());
}
