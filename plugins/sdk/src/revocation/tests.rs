use super::*;
use crate::{
    LocalStore,
    testing::{now, store::DistantStore},
};

const KEEP: Duration = Duration::from_secs(3600);
const ISSUER: &str = "https://auth.example.com";

fn claims(json: &str) -> Claims {
    serde_json::from_str(json).unwrap()
}

fn token(jti: &str, subject: &str, issued: i64) -> RevocationKeys {
    let json = format!(r#"{{"iss":"{ISSUER}","jti":"{jti}","sub":"{subject}","iat":{issued}}}"#);
    RevocationKeys::of(&claims(&json), None)
}

/// The future of something that does not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// The output of a future that waits.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

struct Scene {
    store: Arc<LocalStore>,
    revocations: Revocations,
}

impl Scene {
    fn new(revoked: &[Revocation]) -> Self {
        let store = Arc::new(LocalStore::default());
        for revocation in revoked {
            at_once(revocation.write(&*store, KEEP)).unwrap();
        }
        Self { revocations: Revocations::new(store.clone()), store }
    }

    fn is_revoked(&self, keys: &RevocationKeys) -> bool {
        match now(self.revocations.check(keys)).unwrap() {
            None => false,
            Some(reason) => reason == Reason::TokenRevoked,
        }
    }
}

fn by_jti(jti: &str) -> Revocation {
    Revocation::Token { issuer: ISSUER.to_owned(), jti: jti.to_owned() }
}

fn by_subject(subject: &str, until: i64) -> Revocation {
    Revocation::Subject { issuer: ISSUER.to_owned(), subject: subject.to_owned(), issued_until: UnixTime(until) }
}

fn by_version(at_least: u64) -> Revocation {
    Revocation::Version { issuer: ISSUER.to_owned(), subject: "ann".to_owned(), at_least }
}

#[test]
fn nothing_is_revoked_before_it_is() {
    let scene = Scene::new(&[]);
    assert!(!scene.is_revoked(&token("1", "ann", 100)));
    assert!(!scene.is_revoked(&RevocationKeys::of(&Claims::new(), None)));
}

#[test]
fn a_token_is_revoked_by_its_jti_and_its_issuer() {
    let scene = Scene::new(&[by_jti("1")]);
    assert!(scene.is_revoked(&token("1", "ann", 100)));
    assert!(!scene.is_revoked(&token("2", "ann", 100)));
    let elsewhere = RevocationKeys::of(&claims(r#"{"iss":"https://other.example.com","jti":"1"}"#), None);
    assert!(!scene.is_revoked(&elsewhere));
    at_once(by_jti("1").lift(&*scene.store)).unwrap();
    assert!(!scene.is_revoked(&token("1", "ann", 100)));
}

#[test]
fn issuer_and_jti_do_not_run_together() {
    let revoked = Revocation::Token { issuer: "ab".to_owned(), jti: "c".to_owned() };
    let scene = Scene::new(&[revoked]);
    assert!(!scene.is_revoked(&RevocationKeys::of(&claims(r#"{"iss":"a","jti":"bc"}"#), None)));
    assert!(scene.is_revoked(&RevocationKeys::of(&claims(r#"{"iss":"ab","jti":"c"}"#), None)));
}

#[test]
fn a_subject_is_revoked_up_to_and_in_a_second() {
    let scene = Scene::new(&[by_subject("ann", 100)]);
    assert!(scene.is_revoked(&token("1", "ann", 99)));
    assert!(scene.is_revoked(&token("1", "ann", 100)));
    assert!(!scene.is_revoked(&token("1", "ann", 101)));
    assert!(!scene.is_revoked(&token("1", "bob", 99)));
}

#[test]
fn a_token_that_does_not_say_when_it_was_issued_is_revoked_with_its_subject() {
    let scene = Scene::new(&[by_subject("ann", 100)]);
    for claim in [r#""x":1"#, r#""iat":"200""#, r#""iat":null"#, r#""iat":[200]"#] {
        let json = format!(r#"{{"iss":"{ISSUER}","sub":"ann",{claim}}}"#);
        assert!(scene.is_revoked(&RevocationKeys::of(&claims(&json), None)), "{claim}");
    }
    let fraction = format!(r#"{{"iss":"{ISSUER}","sub":"ann","iat":100.9}}"#);
    assert!(scene.is_revoked(&RevocationKeys::of(&claims(&fraction), None)));
}

#[test]
fn an_issuer_is_revoked_with_all_its_tokens() {
    let scene = Scene::new(&[Revocation::Issuer { issuer: ISSUER.to_owned(), issued_until: UnixTime(100) }]);
    assert!(scene.is_revoked(&token("1", "ann", 100)));
    assert!(!scene.is_revoked(&token("1", "ann", 101)));
    assert!(scene.is_revoked(&RevocationKeys::of(&claims(&format!(r#"{{"iss":"{ISSUER}"}}"#)), None)));
    assert!(!scene.is_revoked(&RevocationKeys::of(&claims(r#"{"iss":"https://other.example.com"}"#), None)));
}

#[test]
fn versions_below_the_lowest_are_revoked() {
    let scene = Scene::new(&[by_version(3)]);
    let ann = claims(&format!(r#"{{"iss":"{ISSUER}","sub":"ann"}}"#));
    for (version, is_revoked) in
        [(None, true), (Some(0), true), (Some(2), true), (Some(3), false), (Some(u64::MAX), false)]
    {
        assert_eq!(scene.is_revoked(&RevocationKeys::of(&ann, version)), is_revoked, "{version:?}");
    }
}

#[test]
fn a_weaker_revocation_does_not_take_the_place_of_a_stronger_one() {
    let scene = Scene::new(&[by_subject("ann", 100), by_subject("ann", 50), by_version(7), by_version(2)]);
    assert!(scene.is_revoked(&token("1", "ann", 99)));
    let ann = claims(&format!(r#"{{"iss":"{ISSUER}","sub":"ann","iat":200}}"#));
    assert!(scene.is_revoked(&RevocationKeys::of(&ann, Some(6))));
}

#[test]
fn keys_of_the_store_are_short_and_show_nothing() {
    let long = "x".repeat(100_000);
    let keys = RevocationKeys::of(&claims(&format!(r#"{{"iss":"{long}","jti":"{long}","sub":"ann"}}"#)), None);
    for question in keys.questions() {
        let wire = question.key.wire_name("edge");
        assert!(wire.starts_with("edge:revocation:token:{") && wire.len() < 110, "{wire}");
        assert!(!wire.contains("ann"));
    }
}

#[test]
fn a_distant_store_is_asked_for_everything_in_one_round_trip() {
    let store = Arc::new(DistantStore::new(Arc::default()));
    wait(by_version(3).write(&*store, KEEP)).unwrap();
    let revocations = Revocations::new(store.clone());
    let before = store.round_trips();
    assert_eq!(wait(revocations.check(&token("1", "ann", 200)).get()).unwrap(), Some(Reason::TokenRevoked));
    assert_eq!(store.round_trips() - before, 1);
    assert_eq!(wait(revocations.check(&token("1", "bob", 200)).get()).unwrap(), None);
}

#[test]
fn of_several_who_revoke_at_once_none_misses_what_another_wrote() {
    let store = Arc::new(DistantStore::new(Arc::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    for round in 0..50 {
        let write = |version: u64| {
            let store = store.clone();
            runtime.spawn(async move { by_version(10 * round + version).write(&*store, KEEP).await })
        };
        let writes = [3, 9, 1, 7].map(write);
        for written in writes {
            runtime.block_on(written).unwrap().unwrap();
        }
        let ann = claims(&format!(r#"{{"iss":"{ISSUER}","sub":"ann"}}"#));
        let keys = RevocationKeys::of(&ann, Some(10 * round + 8));
        let revoked = runtime.block_on(Revocations::new(store.clone()).check(&keys).get());
        assert_eq!(revoked, Ok(Some(Reason::TokenRevoked)), "round {round}");
    }
}

#[test]
fn a_store_that_fails_or_holds_nonsense_is_an_error() {
    let store = Arc::new(DistantStore::new(Arc::default()));
    store.fail(Some(StoreError::Timeout));
    let revocations = Revocations::new(store);
    assert_eq!(wait(revocations.check(&token("1", "ann", 200)).get()), Err(StoreError::Timeout));

    let scene = Scene::new(&[]);
    let name = by_subject("ann", 0).name();
    now(scene.store.put(Put::new(revoked(&name), Bytes::from_static(b"soon"), KEEP))).unwrap();
    assert!(now(scene.revocations.check(&token("1", "ann", 200))).is_err());
}

#[test]
fn what_an_operator_says_can_be_sent() {
    for (revocation, json) in [
        (by_jti("1"), r#"{"of":"token","issuer":"https://auth.example.com","jti":"1"}"#),
        (
            by_subject("ann", 100),
            r#"{"of":"subject","issuer":"https://auth.example.com","subject":"ann","issued_until":100}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&revocation).unwrap(), json);
        assert_eq!(serde_json::from_str::<Revocation>(json).unwrap(), revocation);
    }
}

#[test]
fn a_look_allocates_nothing() {
    let scene = Scene::new(&[by_subject("bob", 100)]);
    let keys = token("1", "ann", 200);
    let look = || assert!(!scene.is_revoked(&keys));
    look();
    assert_eq!(allocation_counter::measure(look).count_total, 0);
}

#[test]
fn revoking_again_takes_nothing_back() {
    let store = LocalStore::default();
    let write = |revocation: Revocation, keep| at_once(revocation.write(&store, keep)).unwrap();
    let kept = |revocation: Revocation| {
        let found = now(store.get(revoked(&revocation.name()))).unwrap().expect("it is there");
        let (mark, until) = written(&found).unwrap();
        (mark, until.0 - UnixTime::now().0)
    };
    write(by_version(7), 100 * KEEP);
    write(by_version(5), KEEP);
    let (mark, left) = kept(by_version(7));
    assert_eq!(mark, 7);
    assert!((359_990..=360_000).contains(&left), "the later end stays: {left}");
    write(by_version(9), 200 * KEEP);
    let (mark, left) = kept(by_version(7));
    assert!(mark == 9 && (719_990..=720_000).contains(&left), "{mark} {left}");
}
