//! Asks a certificate's CA, or a responder that it has named, whether the certificate was revoked (OCSP, RFC 6960).
//!
//! An answer counts if it is about this certificate, is signed by the certificate's own CA or by its delegate, and is
//! in force by its dates; a nonce is not sent, as most responders answer from answers made beforehand (RFC 5019). One
//! question is under way for a certificate at a time, and whoever waits for it gets the same answer; however many
//! certificates there are, no more than [`QUESTIONS_MAX`] questions are under way. The revocation of a certificate is
//! taken back by another answer, and never by silence.

mod http;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use openssl::{
    hash::MessageDigest,
    ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus},
    stack::Stack,
    x509::{X509, store::X509StoreBuilder, verify::X509VerifyFlags},
};
use portcullis_plugin::{Answer, BuildCx, Cache, Counter, JudgeAgain, Reason, Span, UnixTime};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};

use crate::problems::Problems;
use http::Responder;

/// The most that the responder's clock may be ahead of ours or behind it, in seconds.
const CLOCK_SKEW_SECONDS: u32 = 5 * 60;

/// After a question that got no good answer, or one that ends at once, the next one is asked so much later.
const PAUSE: Duration = Duration::from_secs(5);

/// The most questions of a policy that are under way at once. A question outlives the request that put it, so requests do
/// not bound them.
const QUESTIONS_MAX: usize = 64;

/// The longest that a request may wait for one answer.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// The longest that an answer may be kept: a certificate that was revoked works on for as long.
const MAX_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How long the status of a certificate is kept, from its first use on.
const STATUS_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// `{ responder = "http://ocsp.example.com", on_failure = "refuse" }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OcspConfig {
    /// The address of the responder. Its answers are signed, so that `http` is as good as `https`.
    pub responder: String,
    /// The answer to a request where there is no good answer of the responder: `refuse` (unless said) or `allow`.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The longest that the responder may take for one answer; 2 s unless said. A request may wait for twice as long.
    pub timeout: Option<Span>,
    /// The longest that an answer is kept, if it does not end before; 1 h unless said.
    pub max_age: Option<Span>,
}

/// The answer to a request where nobody says whether its certificate was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes on: whoever can keep the gateway from its responder can use a revoked certificate.
    Allow,
}

/// A responder, ready to be asked.
pub(crate) struct Ocsp {
    responder: Responder,
    on_failure: OnFailure,
    timeout: Duration,
    max_age: Duration,
    counters: [Counter; 4],
    /// Room for questions.
    room: Arc<Semaphore>,
    /// For certificates that are found to be revoked.
    judge_again: JudgeAgain,
    /// By certificate and issuer, whatever chain is sent along, and over reloads: else a certificate that is known to be
    /// revoked would be asked about anew, and with `allow` be let in while the responder is silent.
    statuses: Arc<Cache<[u8; 64], Arc<Status>>>,
}

/// The status of one certificate, as far as it is known.
pub(crate) struct Status {
    certificate: X509,
    issuer: X509,
    last: ArcSwapOption<Last>,
    asking: Arc<Mutex<()>>,
}

/// The last answer, and the time from which another is needed.
struct Last {
    said: RevocationStatus,
    until: UnixTime,
    /// When the responder made the answer that `said` is from.
    made: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RevocationStatus {
    Good,
    Revoked,
    /// The responder does not know the certificate: it is not one of its CA's.
    Unknown,
    /// Nothing that counts.
    Nothing,
}

impl Status {
    /// Of a certificate and whoever made it.
    pub(crate) fn new(certificate: X509, issuer: X509) -> Self {
        Self { certificate, issuer, last: ArcSwapOption::empty(), asking: Arc::default() }
    }

    fn current(&self, now: UnixTime) -> Option<RevocationStatus> {
        self.last.load().as_ref().filter(|last| now < last.until).map(|last| last.said)
    }

    /// Returns the status where there is no answer. Whoever keeps the gateway from its responder, by which `allow` lets
    /// anybody in, must not get a certificate back that was known to be revoked.
    fn unanswered(&self) -> RevocationStatus {
        match self.last.load().as_ref().map(|last| last.said) {
            Some(against @ (RevocationStatus::Revoked | RevocationStatus::Unknown)) => against,
            _ => RevocationStatus::Nothing,
        }
    }
}

impl Ocsp {
    /// Makes a responder of its settings; `None`, with the reasons in `problems`, if these make no sense.
    ///
    /// The status of `most` certificates is kept.
    pub(crate) fn new(config: &OcspConfig, most: usize, cx: &mut BuildCx<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut span = |field: &str, said: Option<Span>, usual: u64, most: Duration| {
            let span = said.map_or(Duration::from_secs(usual), |span| span.0);
            if span.is_zero() || span > most {
                problems.push((format!("ocsp.{field}"), format!("is nothing, or more than {}", Span(most))));
            }
            span
        };
        let timeout = span("timeout", config.timeout, 2, TIMEOUT_MAX);
        let max_age = span("max_age", config.max_age, 3600, MAX_AGE_MAX);
        let responder = Responder::new(&config.responder, timeout, cx).map_err(|error| {
            problems.extend(error.problems.into_iter().map(|(field, why)| (format!("ocsp.{field}"), why)));
        });
        if problems.len() > before {
            return None;
        }
        if timeout * 2 > cx.hook_timeout() {
            let why = "a request may wait for twice as long: set the policy's `hook_timeout` above that, or requests are \
                       refused with `plugin_timed_out`, whatever `on_failure` says";
            cx.warn("ocsp.timeout", why);
        }
        let policy = cx.policy().to_owned();
        let counters = ["good", "revoked", "unknown", "failed"].map(|result| {
            let labels = [("policy", policy.as_str()), ("result", result)];
            cx.counter("portcullis_ocsp_answers_total", "Questions to OCSP responders, by what came of them.", &labels)
        });
        let responder = responder.ok()?;
        Some(Self {
            statuses: cx.cache(&format!("ocsp {policy} {}", responder.name()), most),
            responder,
            on_failure: config.on_failure,
            timeout,
            max_age,
            counters,
            room: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            judge_again: cx.judge_again(),
        })
    }

    /// Returns the status of a certificate by whoever made it, with what is known of it already.
    pub(crate) fn status(&self, certificate: X509, issuer: X509) -> Arc<Status> {
        let digest = |of: &X509| of.digest(MessageDigest::sha256()).ok();
        let Some((own, other)) = digest(&certificate).zip(digest(&issuer)) else {
            return Arc::new(Status::new(certificate, issuer));
        };
        let mut key = [0; 64];
        key[..32].copy_from_slice(&own);
        key[32..].copy_from_slice(&other);
        self.statuses.get(&key).unwrap_or_else(|| {
            let status = Arc::new(Status::new(certificate, issuer));
            self.statuses.insert(key, status.clone(), STATUS_KEEP);
            status
        })
    }

    /// Checks that a certificate may be used, by the last answer or a new one.
    pub(crate) fn check(self: &Arc<Self>, status: Arc<Status>, now: UnixTime) -> Answer<'_, Result<(), Reason>> {
        match status.current(now) {
            Some(said) => Answer::Now(self.verdict(said)),
            None => Answer::later(async move { self.verdict(self.ask_once(&status, now).await) }),
        }
    }

    fn verdict(&self, said: RevocationStatus) -> Result<(), Reason> {
        match said {
            RevocationStatus::Good => Ok(()),
            RevocationStatus::Nothing if self.on_failure == OnFailure::Allow => Ok(()),
            RevocationStatus::Revoked => Err(Reason::CertificateRevoked),
            RevocationStatus::Unknown | RevocationStatus::Nothing => Err(Reason::CertificateRevocationUnknown),
        }
    }

    /// Asks, or waits for whoever asks already. The question is a task of its own: others wait for the answer, and the
    /// request that put it may end before it comes.
    async fn ask_once(self: &Arc<Self>, status: &Arc<Status>, now: UnixTime) -> RevocationStatus {
        let begun = Instant::now();
        let waiting = async {
            let asking = status.asking.clone().lock_owned().await;
            if let Some(said) = status.current(now) {
                return said;
            }
            // It is never closed.
            let Ok(room) = self.room.clone().acquire_owned().await else { return status.unanswered() };
            let (ocsp, of) = (self.clone(), status.clone());
            let asked = tokio::spawn(async move {
                let _held = (asking, room);
                ocsp.ask_and_keep(&of, now, begun).await
            });
            asked.await.unwrap_or_else(|_| status.unanswered())
        };
        // A question takes `timeout` at most. The rest is for waiting until another request's question, or one of the
        // policy's many, has ended.
        tokio::time::timeout(self.timeout * 2, waiting).await.unwrap_or_else(|_| status.unanswered())
    }

    /// `now` was `begun`.
    async fn ask_and_keep(&self, status: &Status, now: UnixTime, begun: Instant) -> RevocationStatus {
        let last = self.ask(status, now, begun).await;
        let mut said = last.said;
        self.counters[said as usize].increment();
        if said == RevocationStatus::Nothing {
            said = status.unanswered();
        }
        let before = status.last.swap(Some(Arc::new(Last { said, ..last })));
        if said == RevocationStatus::Revoked && before.is_none_or(|before| before.said != RevocationStatus::Revoked) {
            self.judge_again.call();
        }
        said
    }

    async fn ask(&self, status: &Status, now: UnixTime, begun: Instant) -> Last {
        let answer = self.answer(status).await;
        // Waiting for a place and for the answer may have taken longer than the pause.
        let now = now.after(begun.elapsed());
        let made = status.last.load().as_ref().map_or(UnixTime(i64::MIN), |last| last.made);
        let found = answer.and_then(|der| read(&der, status)).and_then(|found| match found.made < made {
            true => {
                Err("it is older than the answer before it: somebody repeats an answer that was recorded".to_owned())
            }
            false => self.until(&found, now),
        });
        found.unwrap_or_else(|why| {
            log::warn!("no answer that counts from the OCSP responder {}: {why}", self.responder.name());
            Last { said: RevocationStatus::Nothing, until: now.after(PAUSE), made }
        })
    }

    /// Returns the status in an answer, and the time until which it is kept. An answer without an end was made for the
    /// moment (RFC 6960 section 4.2.2.1): an old one is somebody's recording, and would be good for ever.
    fn until(&self, found: &Found, now: UnixTime) -> Result<Last, String> {
        let skew = Duration::from_secs(CLOCK_SKEW_SECONDS.into());
        let ends = found.ends.unwrap_or(found.made.after(self.max_age).after(skew));
        if found.ends.is_none() && ends <= now {
            return Err("it was made too long ago, and does not say until when it holds".to_owned());
        }
        // An answer that has ended by our clock and not yet by the responder's is kept for a moment, so that not every
        // request asks for another.
        let until = ends.max(now.after(PAUSE)).min(now.after(self.max_age));
        Ok(Last { said: found.said, until, made: found.made })
    }

    async fn answer(&self, status: &Status) -> Result<Vec<u8>, String> {
        let question = question(status).map_err(|_| "the question could not be written".to_owned())?;
        self.responder.ask(question).await.map_err(|error| error.to_string())
    }
}

fn question(status: &Status) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let mut request = OcspRequest::new()?;
    request.add_id(id(status)?)?;
    request.to_der()
}

/// Returns the name of a certificate in questions and answers. SHA-1 is the hash that responders know (RFC 5019 section
/// 2.1.1), and nothing rests on it: the answer is signed by whoever has made the certificate.
fn id(status: &Status) -> Result<OcspCertId, openssl::error::ErrorStack> {
    OcspCertId::from_cert(MessageDigest::sha1(), &status.certificate, &status.issuer)
}

/// The content of an answer about the certificate.
#[derive(Debug)]
struct Found {
    said: RevocationStatus,
    made: UnixTime,
    /// Where it tells.
    ends: Option<UnixTime>,
}

/// Reads an answer that counts.
fn read(der: &[u8], status: &Status) -> Result<Found, String> {
    let unreadable = |_| "it cannot be read".to_owned();
    let response = OcspResponse::from_der(der).map_err(unreadable)?;
    if response.status() != OcspResponseStatus::SUCCESSFUL {
        return Err(format!("it refuses to answer ({})", response.status().as_raw()));
    }
    let basic = response.basic().map_err(unreadable)?;
    // The certificate's own CA is all that is trusted here, and those it has named for it (RFC 6960 section 4.2.2.2).
    let mut store = X509StoreBuilder::new().map_err(unreadable)?;
    store.add_cert(status.issuer.clone()).map_err(unreadable)?;
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(unreadable)?;
    let mut signers = Stack::new().map_err(unreadable)?;
    signers.push(status.issuer.clone()).map_err(unreadable)?;
    let signed = basic.verify(&signers, &store.build(), OcspFlag::empty());
    signed.map_err(|_| "it is not signed by the certificate's CA".to_owned())?;
    let id = id(status).map_err(unreadable)?;
    let found = basic.find_status(&id).ok_or("it is about other certificates")?;
    found.check_validity(CLOCK_SKEW_SECONDS, None).map_err(|_| "it is out of date, or from the future".to_owned())?;
    let said = match found.status {
        OcspCertStatus::GOOD => RevocationStatus::Good,
        OcspCertStatus::REVOKED => RevocationStatus::Revoked,
        _ => RevocationStatus::Unknown,
    };
    let instant = |printed: String| instant(&printed).ok_or("its dates cannot be read");
    let made = instant(found.this_update.to_string())?;
    let ends = found.next_update().map(|ends| instant(ends.to_string())).transpose()?;
    Ok(Found { said, made, ends })
}

/// A time as OpenSSL prints it: `Nov 25 13:12:00 2026 GMT`.
fn instant(printed: &str) -> Option<UnixTime> {
    let civil = jiff::civil::DateTime::strptime("%b %e %H:%M:%S %Y GMT", printed).ok()?;
    Some(UnixTime(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()))
}

#[cfg(test)]
mod tests;
