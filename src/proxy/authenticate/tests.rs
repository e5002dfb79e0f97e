//! What alternatives come to together, as a table: each authenticator is a value that says one thing.

mod answers;
mod attempts;

use std::{net::IpAddr, time::Duration};

use http::HeaderName;
use portcullis_plugin::{
    Answer as HookAnswer, Attempts, Authenticate, Challenge, Consumer, Credential, CredentialLimits, Place, Places,
    PluginError, UnixTime, Usage, testing::Request,
};

use super::*;
use crate::{
    config::file,
    proxy::deferred_checks::DeferredCheck,
    services::Services,
    telemetry::{Metrics, Output},
};

/// The deadline of every authenticator.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Says one thing.
#[derive(Clone)]
enum Says {
    Granted(Arc<Identity>),
    GrantedWith(Arc<Identity>, HeaderEdits),
    Absent,
    AbsentWith(Absence),
    Challenges(Vec<Challenge>),
    Denied(Reason),
    Forbidden(Reason),
    Status(Denial),
    Fails,
    /// Looks at this header, and denies what is there: a guess that counts.
    Guess(Arc<Attempts>, &'static str),
    /// Looks at this header, and grants.
    GrantedAt(Arc<Identity>, &'static str),
    Panics,
    Waits,
}

impl Authenticate for Says {
    fn authenticate<'a>(&'a self, _: &'a mut RequestCx<'_>) -> HookAnswer<'a, Result<Authentication, PluginError>> {
        HookAnswer::Now(match self {
            Self::Granted(identity) => Ok(Authentication::Granted(identity.clone())),
            Self::GrantedWith(identity, edits) => Ok(Authentication::GrantedWith(identity.clone(), edits.clone())),
            Self::Absent | Self::Challenges(_) => Ok(Authentication::Absent),
            Self::AbsentWith(absence) => Ok(absence.clone().into()),
            Self::Denied(reason) => Ok(Authentication::Denied(Denial::unauthorized(*reason))),
            Self::Forbidden(reason) => Ok(Authentication::Denied(Denial::forbidden(*reason))),
            Self::Status(denial) => Ok(Authentication::Denied(denial.clone())),
            Self::Fails => Err(PluginError::new("no answer")),
            Self::Guess(attempts, _) => {
                let failed = attempts.failed(IpAddr::from([127, 0, 0, 1]), Some(b"ada"), b"guess");
                Ok(Authentication::Denied(Denial::unauthorized(Reason::PasswordWrong).counting(failed)))
            }
            Self::GrantedAt(identity, _) => Ok(Authentication::Granted(identity.clone())),
            Self::Panics => std::panic::resume_unwind(Box::new("a bug")),
            Self::Waits => return HookAnswer::later(std::future::pending()),
        })
    }

    fn challenges(&self, _: &RequestCx<'_>, attempt: Attempt) -> Vec<Challenge> {
        if let Self::Challenges(challenges) = self {
            return challenges.clone();
        }
        let was_sent = matches!(attempt, Attempt::Denied(_));
        vec![Challenge::new("Test").parameter("sent", was_sent.to_string())]
    }

    fn places(&self) -> Places {
        match self {
            Self::Guess(_, header) | Self::GrantedAt(_, header) => {
                Places(vec![Place::header(header, None).expect("a place")])
            }
            _ => Places::default(),
        }
    }
}

fn consumer(name: &str, tenant: &str) -> Arc<Consumer> {
    let tenant = (!tenant.is_empty()).then(|| tenant.to_owned());
    Arc::new(Consumer { name: name.into(), tenant, ..Consumer::default() })
}

fn credential(id: &str, consumer: &Arc<Consumer>, limits: CredentialLimits) -> Arc<Credential> {
    Arc::new(Credential {
        kind: "test",
        id: id.into(),
        consumer: consumer.clone(),
        scopes: vec![format!("scope-of-{id}")],
        owner: None,
        tier: None,
        limits,
        usage: Arc::new(Usage::default()),
    })
}

fn key(id: &str, name: &str, tenant: &str) -> Arc<Identity> {
    Arc::new(Identity::of_client(&credential(id, &consumer(name, tenant), CredentialLimits::default())))
}

fn limited(limits: CredentialLimits) -> Arc<Identity> {
    Arc::new(Identity::of_client(&credential("k", &consumer("acme", ""), limits)))
}

fn token(subject: &str, name: &str, tenant: &str) -> Arc<Identity> {
    let tenant = (!tenant.is_empty()).then(|| tenant.to_owned());
    let consumer = (!name.is_empty()).then(|| consumer(name, ""));
    let scopes = vec!["orders:read".to_owned()];
    let claims = serde_json::Map::from_iter([("sub".to_owned(), subject.into())]);
    Arc::new(Identity {
        method: "jwt".into(),
        subject: Some(subject.to_owned()),
        tenant,
        consumer,
        scopes,
        claims: Some(Arc::new(claims)),
        headers: vec![(HeaderName::from_static("x-plan"), HeaderValue::from_static("gold"))],
        ..Identity::default()
    })
}

struct Outcome {
    granted: Option<Arc<Identity>>,
    status: u16,
    reason: Option<Reason>,
    challenges: Vec<String>,
    /// The answer that was proposed.
    proposed: Option<Respond>,
    /// How many verdicts brought changes to the response's headers.
    edits: usize,
    retry_after: Option<Duration>,
    /// How many checks wait for the body.
    checks: usize,
    /// What was counted of the policies' decisions: `result/reason`, and how often.
    counted: Vec<(String, u64)>,
}

fn outcome(alternatives: &[&[Says]], anonymous: Option<&str>) -> Outcome {
    outcome_behind(0, alternatives, anonymous)
}

/// What comes of it behind so many guards that want to judge the body.
fn outcome_behind(guards: usize, alternatives: &[&[Says]], anonymous: Option<&str>) -> Outcome {
    outcome_of(guards, alternatives, None, anonymous)
}

/// What comes of all of these, of which this one speaks.
fn spoken(speaker: usize, parts: [&Arc<Identity>; 2]) -> Outcome {
    outcome_of(0, &[&parts.map(|part| Says::Granted(part.clone()))], Some(speaker), None)
}

fn outcome_of(guards: usize, alternatives: &[&[Says]], speaker: Option<usize>, anonymous: Option<&str>) -> Outcome {
    let output = Output::start(std::io::sink()).expect("a thread");
    let metrics = Metrics::new("test", Box::new(|| 0), Box::new(|| 0));
    let services = Arc::new(Services::new(Arc::new(metrics), output));
    let authenticator = |says: &Says| Authenticator {
        policy: "policy".into(),
        number: 0,
        hook: Arc::new(says.clone()),
        places: says.places(),
        fills: says.headers().into(),
        metrics: services.metrics.policy("policy"),
        timeout: TIMEOUT,
    };
    let auth = Auth {
        alternatives: alternatives
            .iter()
            .map(|all| Alternative { parts: all.iter().map(authenticator).collect(), speaker })
            .collect(),
        anonymous: anonymous.map(|name| Arc::new(Identity::anonymous(&consumer(name, "")))),
        hidden: Places::default(),
    };
    let state = crate::proxy::state::RequestState::new(services);
    let check = || DeferredCheck { policy: 0, limit: 1, check: Box::new(|_| Err(Reason::DigestMismatch)) };
    (0..guards).for_each(|_| state.deferred_checks.add(check()));
    let settings = file::Audit::default();
    let mut request = Request::get("/");
    let mut trail = Trail::of(&state, &settings, "test");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let decision = runtime.block_on(authenticate(&auth, &mut request.cx(), &Client::default(), "realm", &mut trail));
    let counted = counted(&state.services.metrics.render());
    match decision {
        Decision::Granted(Granted { identity, excusable, .. }) => {
            // As the pipeline does where no body proves the identity wrong.
            excusable.into_iter().for_each(FailedAttempt::excuse);
            Outcome {
                granted: Some(identity),
                status: 200,
                reason: None,
                challenges: vec![],
                proposed: None,
                edits: state.edits.count(),
                retry_after: None,
                checks: state.deferred_checks.count(),
                counted,
            }
        }
        Decision::Ended(why) => panic!("there is no client that could leave: {why}"),
        Decision::Refused(answer, reason) => Outcome {
            granted: None,
            status: answer.status().as_u16(),
            reason: Some(reason),
            retry_after: answer.retry_after,
            proposed: answer.declared.clone(),
            edits: state.edits.count(),
            checks: state.deferred_checks.count(),
            counted,
            challenges: answer.challenges.iter().map(|one| one.to_str().expect("text").to_owned()).collect(),
        },
    }
}

fn counted(metrics: &str) -> Vec<(String, u64)> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("portcullis_authentications_total{"));
    let counted = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once("} ")?;
        let of = |label| labels.split_once(label)?.1.split('"').next();
        Some((format!("{}/{}", of("result=\"")?, of("reason=\"")?), count.parse().ok()?))
    });
    let mut counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
    counted.sort();
    counted
}

fn status(alternatives: &[&[Says]], anonymous: Option<&str>) -> (u16, Option<&'static str>) {
    let outcome = outcome(alternatives, anonymous);
    (outcome.status, outcome.reason.map(Reason::code))
}

#[test]
fn what_alternatives_come_to() {
    let granted = || Says::Granted(key("k", "acme", ""));
    let denied = || Says::Denied(Reason::KeyUnknown);
    let forbidden = || Says::Forbidden(Reason::RouteNotAllowed);
    assert_eq!(status(&[&[granted()]], None), (200, None));
    assert_eq!(status(&[&[denied()], &[granted()]], None), (200, None), "tried on after a denial");
    assert_eq!(status(&[&[Says::Fails], &[granted()]], None), (200, None), "tried on after a failure");
    assert_eq!(status(&[&[denied()], &[Says::Absent]], None), (401, Some("key_unknown")));
    assert_eq!(status(&[&[Says::Absent], &[Says::Absent]], None), (401, Some("credential_absent")));
    assert_eq!(status(&[&[denied()], &[Says::Fails]], None), (503, Some("plugin_failed")), "a failure is not a denial");
    assert_eq!(status(&[&[Says::Absent], &[Says::Fails]], None), (503, Some("plugin_failed")));
    assert_eq!(status(&[&[forbidden()], &[denied()]], None), (403, Some("route_not_allowed")));
    assert_eq!(status(&[&[forbidden()], &[granted()]], None), (200, None), "unless something else grants");
}

#[test]
fn who_panics_or_takes_too_long_has_failed_and_the_next_is_asked() {
    let granted = || Says::Granted(key("k", "acme", ""));
    for (undecided, code, reason) in [(Says::Panics, 500, "plugin_panicked"), (Says::Waits, 503, "plugin_timed_out")] {
        assert_eq!(status(&[std::slice::from_ref(&undecided)], None), (code, Some(reason)));
        assert_eq!(status(&[std::slice::from_ref(&undecided)], Some("guest")), (code, Some(reason)), "nobody's guest");
        assert_eq!(
            status(&[std::slice::from_ref(&undecided), &[Says::Denied(Reason::KeyUnknown)]], None),
            (code, Some(reason))
        );
        assert_eq!(
            status(&[std::slice::from_ref(&undecided), &[granted()]], None),
            (200, None),
            "unless another grants"
        );
        assert_eq!(status(&[&[granted(), undecided.clone()]], None), (code, Some(reason)), "all of them");
        let counted = outcome(&[&[undecided]], None).counted;
        assert_eq!(counted, [(format!("failed/{reason}"), 1)]);
    }
}

#[test]
fn of_several_denials_the_greatest_counts() {
    let says = |denial: Denial| Says::Status(denial);
    let attempts = |seconds| says(Denial::too_many_attempts(Duration::from_secs(seconds)));
    let ladder = [
        (says(Denial::unauthorized(Reason::KeyUnknown)), 401, "key_unknown"),
        (says(Denial::length_required()), 411, "body_length_unknown"),
        (says(Denial::body_too_large()), 413, "body_too_large"),
        (attempts(7), 429, "too_many_attempts"),
        (says(Denial::forbidden(Reason::RouteNotAllowed)), 403, "route_not_allowed"),
        (Says::Fails, 503, "plugin_failed"),
    ];
    for (place, (greater, code, reason)) in ladder.iter().enumerate() {
        for (lesser, ..) in &ladder[..place] {
            for alternatives in [[greater, lesser], [lesser, greater]] {
                let [first, second] = alternatives.map(std::slice::from_ref);
                assert_eq!(status(&[first, second, &[Says::Absent]], Some("guest")), (*code, Some(*reason)));
            }
        }
    }
    let limited = outcome(&[&[attempts(7)], &[attempts(9)]], None);
    assert_eq!((limited.status, limited.retry_after), (429, Some(Duration::from_secs(9))), "the longer wait");
    assert!(limited.challenges.is_empty(), "a credential is not what is missing");
}

#[test]
fn all_of_tells_the_least_of_what_stands_against_it() {
    let both = |a: &Denial, b: &Denial| status(&[&[Says::Status(a.clone()), Says::Status(b.clone())]], None).0;
    let (wrong, known) = (Denial::unauthorized(Reason::KeyUnknown), Denial::forbidden(Reason::RouteNotAllowed));
    assert_eq!((both(&wrong, &known), both(&known, &wrong), both(&known, &known)), (401, 401, 403));
    assert_eq!(both(&known, &Denial::too_many_attempts(Duration::from_secs(1))), 429);
    for half in [&wrong, &known, &Denial::too_many_attempts(Duration::from_secs(1))] {
        assert_eq!(status(&[&[Says::Status(half.clone()), Says::Absent]], None).0, 401, "{half:?} and nothing");
        assert_eq!(status(&[&[Says::Absent, Says::Status(half.clone())]], None).0, 401, "nothing and {half:?}");
    }
}

#[test]
fn only_an_absent_credential_is_anonymous() {
    let anonymous = outcome(&[&[Says::Absent], &[Says::Absent]], Some("guest"));
    assert_eq!(anonymous.granted.expect("anonymous").consumer.as_ref().expect("a consumer").name, "guest");
    assert_eq!(status(&[&[Says::Denied(Reason::KeyUnknown)]], Some("guest")).0, 401);
    assert_eq!(status(&[&[Says::Absent], &[Says::Denied(Reason::KeyMalformed)]], Some("guest")).0, 401);
    assert_eq!(status(&[&[Says::Fails]], Some("guest")).0, 503);
    assert_eq!(status(&[&[Says::Forbidden(Reason::AddressNotAllowed)]], Some("guest")).0, 403);
    let half = [Says::Granted(key("k", "acme", "")), Says::Absent];
    assert_eq!(status(&[&half], Some("guest")).0, 401, "one of two was sent");
}

#[test]
fn what_guards_want_of_the_body_is_looked_at_whoever_calls() {
    let granted = || Says::Granted(key("k", "acme", ""));
    for (alternatives, anonymous) in [
        (&[&[Says::Absent][..]][..], Some("guest")),
        (&[&[Says::Absent], &[Says::Absent]], Some("guest")),
        (&[&[granted()]], None),
        (&[&[Says::Denied(Reason::KeyUnknown)], &[granted()]], None),
    ] {
        let outcome = outcome_behind(2, alternatives, anonymous);
        assert_eq!((outcome.status, outcome.checks), (200, 2), "anonymous {anonymous:?}");
    }
}

#[test]
fn what_credentials_say_of_themselves_is_checked_for_every_plugin() {
    let now = Request::get("/").now;
    let denied = |limits| status(&[&[Says::Granted(limited(limits))]], None);
    let base = CredentialLimits::default;
    assert_eq!(denied(CredentialLimits { disabled: true, ..base() }), (401, Some("credential_disabled")));
    assert_eq!(denied(CredentialLimits { expires: Some(now), ..base() }), (401, Some("key_expired")));
    assert_eq!(denied(CredentialLimits { expires: Some(UnixTime(now.0 + 1)), ..base() }).0, 200);
    assert_eq!(
        denied(CredentialLimits { not_before: Some(UnixTime(now.0 + 1)), ..base() }),
        (401, Some("credential_not_yet_valid"))
    );
    assert_eq!(denied(CredentialLimits { not_before: Some(now), ..base() }).0, 200);
    assert_eq!(
        denied(CredentialLimits { routes: Some(vec!["other".into()]), ..base() }),
        (403, Some("route_not_allowed"))
    );
    assert_eq!(denied(CredentialLimits { routes: Some(vec!["test".into()]), ..base() }).0, 200);
    let network = |text: &str| Some(vec![text.parse().expect("a network")]);
    assert_eq!(
        denied(CredentialLimits { addresses: network("10.0.0.0/8"), ..base() }),
        (403, Some("address_not_allowed"))
    );
    assert_eq!(denied(CredentialLimits { addresses: network("127.0.0.0/8"), ..base() }).0, 200);
}

#[test]
fn a_credential_taken_out_of_the_configuration_is_refused_by_its_old_snapshot_too() {
    let identity = limited(CredentialLimits::default());
    identity.credentials[0].usage.set_revoked(true);
    assert_eq!(status(&[&[Says::Granted(identity)]], None), (401, Some("credential_disabled")));
}

#[test]
fn use_is_counted_when_it_is_granted_and_only_then() {
    let used = key("k", "acme", "");
    let _ = outcome(&[&[Says::Granted(used.clone()), Says::Denied(Reason::KeyUnknown)]], None);
    assert_eq!(used.credentials[0].usage.count(), 0, "the other half denied");
    let _ = outcome(&[&[Says::Granted(used.clone())]], None);
    assert_eq!(used.credentials[0].usage.count(), 1);
    let (_, address) = used.credentials[0].usage.last().expect("used");
    assert_eq!(address, IpAddr::from([127, 0, 0, 1]));
}

#[test]
fn all_of_means_all_and_they_agree() {
    let both = |a: Arc<Identity>, b: Arc<Identity>| outcome(&[&[Says::Granted(a), Says::Granted(b)]], None);
    let granted = both(key("cert", "acme", "acme"), token("alice", "acme", "acme")).granted.expect("both granted");
    assert_eq!(granted.method, "test+jwt");
    assert_eq!(granted.subject.as_deref(), Some("alice"), "the token speaks for the subject");
    assert_eq!(granted.client.as_deref(), Some("acme"), "the certificate for the client");
    assert_eq!(granted.scopes, ["orders:read"], "scopes are never added up");
    assert_eq!(granted.parts.len(), 2);
    let headers: Vec<_> = granted.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("x-plan", &b"gold"[..])], "each keeps the headers it fills");
    assert!(granted.claims.as_ref().is_some_and(|claims| claims["sub"] == "alice"), "what the token says is at hand");
    let conflict = both(key("cert", "acme", ""), token("alice", "other", ""));
    assert_eq!((conflict.status, conflict.reason.map(Reason::code)), (403, Some("identity_conflict")));
    let tenants = both(key("cert", "acme", "acme"), token("alice", "", "other"));
    assert_eq!((tenants.status, tenants.reason.map(Reason::code)), (403, Some("identity_conflict")));
    let stranger = || Arc::new(Identity { method: "mtls".into(), client: Some("any".into()), ..Identity::default() });
    let nameless = || Arc::new(Identity { method: "mtls".into(), ..Identity::default() });
    for nobodys in [stranger(), nameless()] {
        let stolen = both(nobodys, key("k", "acme", ""));
        assert_eq!((stolen.status, stolen.reason.map(Reason::code)), (403, Some("identity_conflict")));
    }
    assert!(both(stranger(), stranger()).granted.is_some(), "neither is a consumer's");
    assert!(both(stranger(), token("alice", "acme", "")).granted.is_some(), "a token speaks for itself");
    let denied: &[Says] = &[Says::Granted(key("k", "acme", "")), Says::Denied(Reason::KeyExpired)];
    assert_eq!(status(&[denied], None), (401, Some("key_expired")));
    let failed: &[Says] = &[Says::Denied(Reason::KeyUnknown), Says::Fails];
    assert_eq!(status(&[failed], None), (503, Some("plugin_failed")));
}

/// A token of an issuer, which gives roles and scopes.
fn issued(issuer: &str, subject: &str, name: &str) -> Arc<Identity> {
    let issuer = (!issuer.is_empty()).then(|| issuer.to_owned());
    let of = |what: &str| vec![format!("{what} of {subject}")];
    let base = Arc::try_unwrap(token(subject, name, "")).expect("it was just made");
    Arc::new(Identity { issuer, roles: of("role"), scopes: of("scope"), ..base })
}

#[test]
fn two_subjects_are_a_conflict_unless_the_file_says_who_speaks() {
    let both =
        |a: &Arc<Identity>, b: &Arc<Identity>| outcome(&[&[Says::Granted(a.clone()), Says::Granted(b.clone())]], None);
    let conflicts = |outcome: Outcome| (outcome.status, outcome.reason) == (403, Some(Reason::IdentityConflict));
    let (alice, bob) = (issued("a", "alice", ""), issued("a", "bob", ""));
    assert!(conflicts(both(&alice, &bob)), "two of one issuer");
    assert!(conflicts(both(&alice, &issued("b", "bob", ""))), "two of two issuers");
    assert!(conflicts(both(&alice, &issued("b", "alice", ""))), "one name of two issuers is two subjects");
    assert!(conflicts(both(&issued("", "alice", ""), &issued("", "alice", ""))), "of unknown issuers as well");
    assert!(conflicts(both(&issued("a", "alice", "acme"), &issued("b", "bob", "acme"))), "two of one consumer");
    assert!(both(&alice, &issued("a", "alice", "")).granted.is_some(), "one of one issuer");
    let joined = both(&issued("a", "alice", "acme"), &issued("b", "alice", "acme"));
    assert!(joined.granted.is_some(), "the file gives both to one consumer");
    assert!(conflicts(spoken(0, [&token("alice", "", "north"), &token("bob", "", "south")])), "tenants have to agree");
    assert!(conflicts(spoken(0, [&issued("a", "alice", "acme"), &issued("b", "bob", "other")])), "and consumers");

    for (speaker, subject) in [(0, "alice"), (1, "bob")] {
        let granted = spoken(speaker, [&alice, &bob]).granted.expect("the file says who speaks");
        assert_eq!(granted.subject.as_deref(), Some(subject));
        assert_eq!(granted.roles, [format!("role of {subject}")]);
        assert_eq!(granted.scopes, [format!("scope of {subject}")]);
        assert!(granted.claims.as_ref().is_some_and(|claims| claims["sub"] == subject));
        assert_eq!(granted.parts.len(), 2, "a rule about claims sees every token");
        assert_eq!(granted.headers.len(), 1, "of a header that both fill there is the speaker's");
    }
    let certificate = key("cert", "acme", "");
    let granted = spoken(0, [&certificate, &issued("a", "alice", "acme")]).granted.expect("a certificate may speak");
    assert_eq!((granted.subject.as_deref(), granted.scopes[0].as_str()), (None, "scope-of-cert"));
    let granted = both(&certificate, &issued("a", "alice", "acme")).granted.expect("a certificate is no subject");
    assert_eq!((granted.subject.as_deref(), granted.roles[0].as_str()), (Some("alice"), "role of alice"));
}

#[test]
fn what_is_proven_in_part_is_not_counted_as_granted() {
    let counted = |alternatives: &[&[Says]]| outcome(alternatives, None).counted;
    let count = |what: &str, count| (what.to_owned(), count);
    let (key, other) = (Says::Granted(key("k", "acme", "")), Says::Granted(token("alice", "other", "")));
    assert_eq!(counted(&[std::slice::from_ref(&key)]), [count("granted/none", 1)]);
    assert_eq!(counted(&[&[key.clone(), key.clone()]]), [count("granted/none", 2)], "each of both policies");
    assert_eq!(counted(&[&[key.clone(), Says::Absent]]), [count("absent/none", 1)]);
    assert_eq!(counted(&[&[key.clone(), Says::Denied(Reason::KeyUnknown)]]), [count("denied/key_unknown", 1)]);
    assert_eq!(counted(&[&[key, other]]), [count("denied/identity_conflict", 2)]);
}

#[test]
fn there_is_one_challenge_for_each_way_in() {
    let sent = outcome(&[&[Says::Absent], &[Says::Denied(Reason::KeyUnknown)], &[Says::Absent]], None);
    assert_eq!(sent.challenges, ["Test realm=\"realm\", sent=\"false\"", "Test realm=\"realm\", sent=\"true\""]);
    assert!(outcome(&[&[Says::Forbidden(Reason::RouteNotAllowed)]], None).challenges.is_empty());
    let half = outcome(&[&[Says::Granted(key("k", "acme", "")), Says::Absent]], None);
    let untold = ["Test realm=\"realm\", sent=\"false\""];
    assert_eq!(half.challenges, untold, "neither was wrong");
    for other in [Says::Absent, Says::Granted(key("k", "acme", "")), Says::Denied(Reason::KeyExpired)] {
        let half = outcome(&[&[other, Says::Denied(Reason::KeyUnknown)]], None);
        assert_eq!(half.challenges, untold, "a part of an all-of cannot be tried out alone");
    }
}

#[test]
fn headers_that_the_speakers_policy_fills_are_the_speakers_alone() {
    let part = |plan: Option<&'static str>, device: &'static str| {
        let plan = plan.map(|plan| (HeaderName::from_static("x-plan"), HeaderValue::from_static(plan)));
        let device = (HeaderName::from_static("x-device"), HeaderValue::from_static(device));
        Arc::new(Identity { headers: plan.into_iter().chain([device]).collect(), ..Identity::default() })
    };
    let parts = [part(Some("enterprise"), "phone"), part(None, "none")];
    let value = |fills: &[HeaderName], name: &str| {
        let headers = headers(&parts, 1, fills);
        headers.into_iter().find(|(header, _)| header == name).map(|(_, value)| value)
    };
    let plan = [HeaderName::from_static("x-plan")];
    assert_eq!(value(&plan, "x-plan"), None, "the speaker has no plan, whatever another part says");
    assert_eq!(value(&plan, "x-device").expect("both fill it"), "none");
    assert_eq!(value(&[], "x-plan").expect("only the other policy fills it"), "enterprise");
}
