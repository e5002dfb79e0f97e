//! Answers that are proposed, changes to headers, and challenges.

use super::*;

const LOGIN: Reason = Reason::Plugin("login_needed");

fn login(to: &str) -> Respond {
    Respond::redirect(LOGIN, to).expect("a location")
}

fn proposes(to: &str) -> Says {
    Says::AbsentWith(Absence::new().proposing(login(to)))
}

fn edits() -> HeaderEdits {
    let mut edits = HeaderEdits::new();
    edits.append(http::header::SET_COOKIE, HeaderValue::from_static("a=b")).expect("it is not the gateway's");
    edits
}

/// The location of the answer that was proposed.
fn location(alternatives: &[&[Says]], anonymous: Option<&str>) -> Option<String> {
    let proposed = outcome(alternatives, anonymous).proposed?;
    let location = proposed.headers().iter().find(|(name, _)| name == http::header::LOCATION)?;
    Some(location.1.to_str().expect("text").to_owned())
}

#[test]
fn what_is_proposed_is_the_answer_to_a_request_without_any_credential() {
    let outcome = outcome(&[&[Says::Absent], &[proposes("/a")]], None);
    assert_eq!((outcome.status, outcome.reason, outcome.challenges), (302, Some(LOGIN), vec![]));
    assert_eq!(outcome.proposed, Some(login("/a")));
    assert_eq!(location(&[&[proposes("/a")], &[proposes("/b")]], None).as_deref(), Some("/a"), "the first of several");
}

#[test]
fn what_is_proposed_is_not_used_beside_a_grant_a_denial_or_a_failure() {
    let granted = || Says::Granted(key("k", "acme", ""));
    let denied = || Says::Denied(Reason::KeyUnknown);
    let forbidden = || Says::Forbidden(Reason::RouteNotAllowed);
    for (other, code) in [(granted(), 200), (denied(), 401), (forbidden(), 403), (Says::Fails, 503)] {
        for alternatives in [[proposes("/a"), other.clone()], [other.clone(), proposes("/a")]] {
            let [first, second] = alternatives;
            let outcome = outcome(&[&[first], &[second]], None);
            assert_eq!((outcome.status, outcome.proposed), (code, None));
        }
    }
    let denied_together: &[Says] = &[granted(), denied()];
    assert_eq!(location(&[&[proposes("/a")], denied_together], None), None);
    let guest = outcome(&[&[proposes("/a")]], Some("guest"));
    assert_eq!((guest.status, guest.proposed), (200, None), "a guest is let in");
}

#[test]
fn a_part_of_an_all_of_proposes_nothing() {
    let together: &[Says] = &[proposes("/a"), Says::Absent];
    assert_eq!((location(&[together], None), status(&[together], None).0), (None, 401));
    let half: &[Says] = &[proposes("/a"), Says::Granted(key("k", "acme", ""))];
    assert_eq!((location(&[half], None), status(&[half], None).0), (None, 401));
    assert_eq!(location(&[together, &[proposes("/b")]], None).as_deref(), Some("/b"));
}

#[test]
fn a_proposed_401_has_the_challenges_of_all() {
    let page = Respond::json(StatusCode::UNAUTHORIZED, LOGIN, &serde_json::json!({ "login_url": "/login" }));
    let page = page.challenge(Challenge::new("Cookie"));
    let bearer = || Says::Challenges(vec![Challenge::new("DPoP"), Challenge::new("Bearer")]);
    let outcome = outcome(&[&[Says::AbsentWith(Absence::new().proposing(page))], &[bearer()]], None);
    let expected = [
        "Bearer realm=\"realm\"",
        "Cookie realm=\"realm\"",
        "Test realm=\"realm\", sent=\"false\"",
        "DPoP realm=\"realm\"",
    ];
    assert_eq!((outcome.status, outcome.challenges), (401, expected.map(str::to_owned).to_vec()));
}

#[test]
fn headers_count_of_whoever_granted_and_of_what_is_absent() {
    let grants = || Says::GrantedWith(key("k", "acme", ""), edits());
    let absent = || Says::AbsentWith(Absence::new().with(edits()));
    let count = |alternatives: &[&[Says]]| outcome(alternatives, None).edits;
    assert_eq!(count(&[&[grants()]]), 1);
    assert_eq!(count(&[&[absent()], &[grants()]]), 2, "a cookie that does not open is removed, whoever grants");
    assert_eq!(count(&[&[absent()], &[Says::Denied(Reason::KeyUnknown)]]), 1);
    assert_eq!(count(&[&[grants(), grants()]]), 2, "all of them");
    let objected = CredentialLimits { disabled: true, ..CredentialLimits::default() };
    assert_eq!(count(&[&[Says::GrantedWith(limited(objected), edits())]]), 0, "nobody was granted anything");
}

#[test]
fn an_all_of_that_did_not_grant_tells_nothing_about_its_parts() {
    let grants = || Says::GrantedWith(key("k", "acme", ""), edits());
    let absent = || Says::AbsentWith(Absence::new().with(edits()));
    for other in [Says::Absent, absent(), Says::Denied(Reason::KeyUnknown), Says::Fails] {
        assert_eq!(outcome(&[&[grants(), other]], None).edits, 0);
    }
    assert_eq!(outcome(&[&[absent()], &[grants(), Says::Absent]], None).edits, 1, "those of others stay");
}

#[test]
fn bearer_is_challenged_for_first_and_an_authenticator_may_challenge_in_several_ways() {
    let several = vec![Challenge::new("DPoP").with(edits()), Challenge::new("Bearer"), Challenge::new("DPoP")];
    let outcome = outcome(&[&[Says::Absent], &[Says::Challenges(several)], &[Says::Challenges(vec![])]], None);
    let schemes: Vec<_> = outcome.challenges.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!((schemes, outcome.edits), (vec!["Bearer", "Test", "DPoP"], 1));
}
