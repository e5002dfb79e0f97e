mod network;
mod outage;
pub(super) mod server;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::Mutex;

use portcullis_plugin::{JudgeAgain, Span, testing::Build};
use serde_json::Value;

use super::{
    fetch::{FetchError, Page},
    *,
};
use crate::{
    Algorithm, Token,
    testing::{Signer, jwks},
};

const ALLOWED: [Algorithm; 1] = [Algorithm::EdDsa];

/// An issuer: the keys that it publishes, and whether it answers.
#[derive(Default)]
struct Issuer {
    page: Mutex<Option<Page>>,
    /// In the place of a page.
    status: Mutex<Option<u16>>,
    delay: Mutex<Duration>,
    fetches: AtomicUsize,
}

impl Issuer {
    fn publishes(&self, keys: &[Value]) {
        self.publishes_for(keys, None);
    }

    fn publishes_for(&self, keys: &[Value], seconds: Option<u64>) {
        *self.page.lock() = Some(Page { jwks: jwks(keys), max_age: seconds.map(Duration::from_secs) });
    }

    fn publishes_text(&self, text: &str) {
        *self.page.lock() = Some(Page { jwks: text.into(), max_age: None });
    }

    fn dies(&self) {
        *self.page.lock() = None;
    }

    /// Answers with an error.
    fn fails_with(&self, status: u16) {
        *self.page.lock() = None;
        *self.status.lock() = Some(status);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }

    async fn answer(&self) -> Result<Page, FetchError> {
        self.fetches.fetch_add(1, SeqCst);
        // As it was when it was asked.
        let page = self.page.lock().as_ref().map(|page| Page { jwks: page.jwks.clone(), max_age: page.max_age });
        let delay = *self.delay.lock();
        tokio::time::sleep(delay).await;
        page.ok_or_else(|| match *self.status.lock() {
            None => FetchError::Unreachable("gone".to_owned()),
            Some(status) => FetchError::Status(status.try_into().unwrap()),
        })
    }
}

fn source(issuer: &Arc<Issuer>) -> Arc<KeySource> {
    with(issuer, Settings::default())
}

fn with(issuer: &Arc<Issuer>, settings: Settings) -> Arc<KeySource> {
    seen(&place(issuer), settings)
}

fn place(issuer: &Arc<Issuer>) -> Arc<Place> {
    told(issuer, JudgeAgain::default())
}

/// The place, which tells of new keys.
fn told(issuer: &Arc<Issuer>, judge_again: JudgeAgain) -> Arc<Place> {
    let issuer = issuer.clone();
    let fetch: Fetch = Box::new(move || {
        let issuer = issuer.clone();
        Box::pin(async move { issuer.answer().await })
    });
    Arc::new(Place::new("test".to_owned(), Counters::default(), judge_again, fetch))
}

/// The place as a policy with these settings sees it.
fn seen(place: &Arc<Place>, settings: Settings) -> Arc<KeySource> {
    Arc::new(KeySource { place: place.clone(), settings })
}

fn signer() -> Signer {
    Signer::new(Algorithm::EdDsa)
}

/// Verifies a token as a plugin does; `false` if it is refused.
async fn verifies(source: &Arc<KeySource>, signer: &Signer, kid: Option<&str>) -> Result<bool, KeysUnavailable> {
    let token = signer.token_of(kid, "{}");
    let token = Token::parse(token.as_bytes()).unwrap();
    match source.current()?.verify(&token, &ALLOWED) {
        Ok(_) => Ok(true),
        Err(why) if why.may_be_newer(&token) => Ok(source.refreshed_for(kid).await?.verify(&token, &ALLOWED).is_ok()),
        Err(_) => Ok(false),
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Waits for what is to come within ten seconds, however busy the machine.
async fn eventually(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be");
}

#[tokio::test(start_paused = true)]
async fn keys_are_there_once_they_were_fetched() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    assert_eq!(source.current().unwrap_err(), KeysUnavailable::NeverFetched("test".into()));
    source.clone().first().await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
    source.clone().first().await;
    assert_eq!(issuer.fetches(), 1, "what is known need not be fetched before publishing");
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_when_their_server_says() {
    let issuer = Arc::new(Issuer::default());
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    for (max_age, expected) in [(None, 600), (Some(300), 300), (Some(0), 60), (Some(1_000_000), 86_400)] {
        issuer.publishes_for(&[signer().jwk("1")], max_age);
        let due = source.due(&source.place.schedule.lock());
        tokio::time::sleep_until(due + Duration::from_millis(1)).await;
        let before = issuer.fetches();
        seconds(expected - 1).await;
        assert_eq!(issuer.fetches(), before, "{max_age:?}");
        if expected < 86_400 {
            seconds(2).await;
            assert_eq!(issuer.fetches(), before + 1, "{max_age:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_text_is_the_same_set() {
    let issuer = Arc::new(Issuer::default());
    issuer.publishes(&[signer().jwk("1")]);
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    let first = source.current().unwrap().generation();
    seconds(600).await;
    assert_eq!((issuer.fetches(), source.current().unwrap().generation()), (2, first));
    issuer.publishes(&[signer().jwk("1")]);
    seconds(600).await;
    assert_ne!(source.current().unwrap().generation(), first);
}

#[tokio::test(start_paused = true)]
async fn known_keys_serve_while_the_server_is_down_and_not_for_ever() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    issuer.dies();
    seconds(600 + 86_400 - 10).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
    let fetches = issuer.fetches();
    assert!((2870..=3900).contains(&fetches), "once in 22 to 30 s for a day: {fetches}");
    seconds(20).await;
    assert_eq!(source.current().unwrap_err(), KeysUnavailable::Stale("test".into()));
    assert!(source.refreshed_for(Some("1")).await.is_err(), "503, and not let through");
    issuer.publishes(&[key.jwk("1")]);
    seconds(31).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_set_leaves_the_one_before() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    for text in ["<html>", "{}", r#"{"keys":null}"#] {
        issuer.publishes_text(text);
        seconds(601).await;
        assert_eq!(verifies(&source, &key, Some("1")).await, Ok(true), "{text}");
    }
    assert!(source.place.counters.invalid.value() >= 3);
    assert_eq!((source.place.counters.fetched.value(), source.place.counters.unreachable.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_withdrawn_verify_no_longer() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    tokio::spawn(source.clone().keep_fresh());
    seconds(1).await;
    issuer.publishes(&[]);
    seconds(600).await;
    assert_eq!(verifies(&source, &key, Some("1")).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_set_that_has_changed_has_open_streams_judged_again_by_it() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    let keys: Arc<Mutex<Option<Arc<Place>>>> = Arc::default();
    let judged: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (place, calls) = (keys.clone(), judged.clone());
    let judge_again = JudgeAgain::new(move || {
        let known = place.lock().as_ref().and_then(|place| place.known.load_full()).expect("keys");
        calls.lock().push(known.keys.keys().len());
    });
    let place = told(&issuer, judge_again);
    *keys.lock() = Some(place.clone());
    tokio::spawn(seen(&place, Settings::default()).keep_fresh());
    issuer.publishes(&[key.jwk("1"), signer().jwk("2")]);
    seconds(601).await;
    issuer.publishes_text("<html>");
    seconds(601).await;
    assert!(judged.lock().is_empty(), "nothing was known before, and then nothing has changed");
    issuer.publishes(&[key.jwk("1")]);
    seconds(1300).await;
    assert_eq!(*judged.lock(), [1], "once, and the change can be seen by then");
    *keys.lock() = None;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_loses_no_token() {
    let (issuer, old, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[old.jwk("old")]);
    let source = source(&issuer);
    source.clone().first().await;
    // At once after a fetch, without a word before, and the old key is gone.
    issuer.publishes(&[new.jwk("new")]);
    *issuer.delay.lock() = Duration::from_millis(500);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let (source, token) = (source.clone(), new.token_of(Some("new"), "{}"));
            tokio::spawn(async move {
                let keys = source.refreshed_for(Some("new")).await.unwrap();
                keys.verify(&Token::parse(token.as_bytes()).unwrap(), &ALLOWED).is_ok()
            })
        })
        .collect();
    for request in requests {
        assert!(request.await.unwrap());
    }
    assert_eq!(issuer.fetches(), 2, "single flight");
    assert_eq!(verifies(&source, &old, Some("old")).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn strangers_cause_a_few_fetches_and_then_one_in_a_cooldown() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    source.clone().first().await;
    let at_once = usize::try_from(MAX_REFRESHES_AT_ONCE).unwrap();
    for round in 0..3 {
        for number in 0..100 {
            let kid = format!("{round}-{number}");
            assert_eq!(verifies(&source, &key, Some(&kid)).await, Ok(false));
        }
        assert_eq!(issuer.fetches(), 1 + at_once + round);
        seconds(31).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_token_does_not_keep_out_a_key_that_is_rotated_in() {
    let (issuer, old, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[old.jwk("old")]);
    let source = source(&issuer);
    source.clone().first().await;
    assert_eq!(verifies(&source, &signer(), Some("stranger")).await, Ok(false));
    issuer.publishes(&[new.jwk("new")]);
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn many_strangers_at_once_share_the_fetches() {
    let (issuer, old, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[old.jwk("old")]);
    *issuer.delay.lock() = Duration::from_millis(100);
    let source = source(&issuer);
    source.clone().first().await;
    let ask = |kid: String| {
        let source = source.clone();
        tokio::spawn(async move { source.refreshed_for(Some(&kid)).await.unwrap().knows(&kid) })
    };
    let first = ask("stranger".to_owned());
    first.await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let strangers: Vec<_> = (0..1000).map(|number| ask(number.to_string())).collect();
    issuer.publishes(&[new.jwk("new")]);
    assert!(ask("new".to_owned()).await.unwrap());
    for stranger in strangers {
        assert!(!stranger.await.unwrap());
    }
    assert_eq!(issuer.fetches(), 3, "a fetch that begins after a token came decides about it");
}

#[tokio::test(start_paused = true)]
async fn the_cooldown_holds_after_a_failure_too() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    let source = source(&issuer);
    source.clone().first().await;
    for _ in 0..100 {
        assert!(source.refreshed_for(Some("1")).await.is_err());
    }
    assert_eq!(issuer.fetches(), 1);
    seconds(31).await;
    issuer.publishes(&[key.jwk("1")]);
    assert!(source.refreshed_for(Some("1")).await.unwrap().knows("1"));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_kid_that_was_not_there_does_not_fetch_again_soon() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    source.clone().first().await;
    let ask = async |kid| source.refreshed_for(Some(kid)).await.unwrap().knows(kid);
    assert!(!ask("gone").await);
    seconds(31).await;
    assert!(!ask("gone").await);
    assert_eq!(issuer.fetches(), 2, "it leaves the fetch to others");
    issuer.publishes(&[key.jwk("2")]);
    assert!(ask("2").await);
    assert_eq!(issuer.fetches(), 3);
    seconds(31).await;
    issuer.publishes(&[key.jwk("gone")]);
    assert!(ask("gone").await, "two cooldowns later");
}

#[tokio::test(start_paused = true)]
async fn unknown_kids_are_kept_in_a_bounded_list() {
    let issuer = Arc::new(Issuer::default());
    issuer.publishes(&[]);
    let source = source(&issuer);
    source.clone().first().await;
    for number in 0..10_000 {
        source.place.remember_unknown(&number.to_string());
    }
    let remembered = source.place.unknown_len();
    assert!((1..=MAX_UNKNOWN_KIDS).contains(&remembered), "{remembered}");
}

#[tokio::test(start_paused = true)]
async fn tokens_without_kid_fetch_within_the_same_limits() {
    let (issuer, old, new) = (Arc::new(Issuer::default()), signer(), signer());
    issuer.publishes(&[old.bare_jwk()]);
    let source = source(&issuer);
    source.clone().first().await;
    issuer.publishes(&[new.bare_jwk()]);
    assert_eq!(verifies(&source, &new, None).await, Ok(true));
    for _ in 0..100 {
        assert_eq!(verifies(&source, &old, None).await, Ok(false));
    }
    assert_eq!(issuer.fetches(), 1 + usize::try_from(MAX_REFRESHES_AT_ONCE).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_signature_of_a_known_key_fetches_nothing() {
    let (issuer, key) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[key.jwk("1")]);
    let source = source(&issuer);
    source.clone().first().await;
    assert_eq!(verifies(&source, &signer(), Some("1")).await, Ok(false));
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_it_may_and_the_fetch_goes_on() {
    let (issuer, new) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[signer().jwk("old")]);
    let source = with(&issuer, Settings { max_wait: Span(Duration::from_secs(1)), ..Settings::default() });
    source.clone().first().await;
    issuer.publishes(&[new.jwk("new")]);
    *issuer.delay.lock() = Duration::from_secs(3);
    let started = Instant::now();
    let unconfirmed = Err(KeysUnavailable::Unconfirmed("test".into()));
    assert_eq!(verifies(&source, &new, Some("new")).await, unconfirmed, "not decided in time");
    assert_eq!(started.elapsed().as_secs(), 1);
    seconds(3).await;
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_does_not_stop_the_fetch_for_others() {
    let (issuer, new) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[signer().jwk("old")]);
    let source = source(&issuer);
    source.clone().first().await;
    issuer.publishes(&[new.jwk("new")]);
    *issuer.delay.lock() = Duration::from_secs(1);
    let impatient = tokio::spawn({
        let source = source.clone();
        async move { source.refreshed_for(Some("new")).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    impatient.abort();
    assert_eq!(verifies(&source, &new, Some("new")).await, Ok(true));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_that_began_too_early_is_not_the_last_word() {
    let (issuer, new) = (Arc::new(Issuer::default()), signer());
    issuer.publishes(&[signer().jwk("old")]);
    let source = source(&issuer);
    *issuer.delay.lock() = Duration::from_secs(1);
    tokio::spawn(source.clone().keep_fresh());
    tokio::time::sleep(Duration::from_millis(500)).await;
    issuer.publishes(&[new.jwk("new")]);
    assert!(source.refreshed_for(Some("new")).await.unwrap().knows("new"));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up() {
    let issuer = Arc::new(Issuer::default());
    *issuer.delay.lock() = Duration::from_secs(86_400);
    let source = source(&issuer);
    let started = Instant::now();
    source.clone().first().await;
    assert_eq!(started.elapsed().as_secs(), 4, "below the 5 s that a configuration waits");
    assert_eq!(source.place.counters.unreachable.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn policies_that_share_a_place_fetch_once() {
    let issuer = Arc::new(Issuer::default());
    issuer.publishes(&[signer().jwk("1")]);
    let place = place(&issuer);
    for _ in 0..5 {
        tokio::spawn(seen(&place, Settings::default()).keep_fresh());
    }
    seconds(1801).await;
    assert_eq!(issuer.fetches(), 4);
}

/// The runtime that a configuration is built on ends before the one that serves begins.
#[test]
fn a_fetch_that_is_cut_off_with_its_runtime_is_made_again() {
    let issuer = Arc::new(Issuer::default());
    issuer.publishes(&[signer().jwk("1")]);
    *issuer.delay.lock() = Duration::from_millis(50);
    let source = source(&issuer);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.spawn(source.clone().first());
    first.block_on(tokio::task::yield_now());
    first.block_on(tokio::task::yield_now());
    drop(first);
    assert_eq!(issuer.fetches(), 1);
    assert!(source.current().is_err());
    runtime().block_on(async {
        tokio::spawn(source.clone().keep_fresh());
        eventually(|| source.current().is_ok()).await;
    });
    assert_eq!(issuer.fetches(), 2);
}

#[test]
fn all_problems_are_reported_at_once_with_their_fields() {
    let settings = Settings {
        timeout: Span(Duration::from_secs(60)),
        cooldown: Span(Duration::ZERO),
        refresh: Span(Duration::from_secs(1)),
        ..Settings::default()
    };
    let mut build = Build::new();
    let location = Location::Url("http://auth.example.com/".to_owned());
    let error = KeySource::shared(&mut BuildCx::new(&mut build), location, settings).err().unwrap();
    let fields: Vec<_> = error.problems.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["timeout", "cooldown", "refresh", "url"]);
    assert!(build.background.is_empty() && build.before_publish.is_empty());
    assert_eq!(Settings::default().problems(), []);
}

#[test]
fn settings_are_read_from_a_table() {
    let settings: Settings = toml::from_str("cooldown = \"10s\"\nmax_stale = \"1h\"").unwrap();
    assert_eq!((settings.cooldown.0.as_secs(), settings.max_stale.0.as_secs()), (10, 3600));
    assert_eq!(settings.refresh, Settings::default().refresh);
    assert!(toml::from_str::<Settings>("cooldwn = \"10s\"").is_err());
}
