//! Streams that a signature opened: it cannot be made again, but its key can be looked for.

use portcullis_plugin::{Identity, OpenStream, Reason, testing::open_stream};

use super::*;

fn opened() -> Arc<Identity> {
    let mut request = signed(request("GET", "/events"));
    match wait(hook("").authenticate(&mut request.cx())).unwrap() {
        Authentication::Granted(identity) => identity,
        other => panic!("{other:?}"),
    }
}

/// The answer of a policy to a stream that `acme-1` opened: the consumer, or the reason for its end.
fn again(hook: &Arc<dyn Authenticate>, change: impl FnOnce(&mut OpenStream<'_>)) -> String {
    let identity = opened();
    let mut stream = open_stream(&identity);
    change(&mut stream);
    match wait(hook.recheck(&stream)).unwrap() {
        Authentication::Granted(identity) => identity.consumer.as_ref().unwrap().name.clone(),
        Authentication::Absent => "absent".to_owned(),
        other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
        Authentication::Denied(denial) => denial.reason.to_string(),
    }
}

#[test]
fn a_stream_lasts_while_its_key_is_there() {
    assert_eq!(again(&hook(""), |_| {}), "acme");
    // Another policy in its place, with more keys, and one that is somebody else's by now.
    let more = build().credential::<Hmac>("third", "third-1", shared(&"t".repeat(32)), |_| {});
    assert_eq!(again(&hook_of(more, ""), |_| {}), "acme");
    let inherited = Build::new().credential::<Hmac>("heir", "acme-1", shared(SECRET), |_| {});
    assert_eq!(again(&hook_of(inherited, ""), |_| {}), "heir");
}

#[test]
fn a_stream_ends_with_its_key() {
    let others = Build::new().credential::<Hmac>("other", "other-1", shared(&"o".repeat(32)), |_| {});
    assert_eq!(again(&hook_of(others, ""), |_| {}), "credential_withdrawn", "it was taken out");
    let rotated = Build::new().credential::<Hmac>("acme", "acme-1", shared(&"n".repeat(32)), |_| {});
    assert_eq!(again(&hook_of(rotated, ""), |_| {}), "credential_withdrawn", "another secret");
    let renamed = Build::new().credential::<Hmac>("acme", "acme-2", shared(SECRET), |_| {});
    assert_eq!(again(&hook_of(renamed, ""), |_| {}), "credential_withdrawn", "another name");
    // The components and the age of a signature cannot be checked again.
    assert_eq!(again(&hook(""), |stream| stream.has_same_settings = false), "policy_changed");
}

#[test]
fn an_identity_that_no_key_of_this_plugin_has_proven_is_not_taken_over() {
    let stranger = Arc::new(Identity::of_client(&opened().credentials[0]));
    let answer = wait(hook("").recheck(&open_stream(&stranger))).unwrap();
    assert!(matches!(answer, Authentication::Denied(denial) if denial.reason == Reason::CredentialWithdrawn));
}
