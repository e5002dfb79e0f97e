//! Stands at the door of a route, and takes part in every phase but finding out who calls. Each is a few lines: take
//! what you need.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use portcullis::plugin::{
    bytes::Bytes,
    http::{HeaderName, HeaderValue, header::USER_AGENT},
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin, and a policy of it that is ready to serve.
pub struct Porter {
    banned: HashSet<Vec<u8>>,
    word: Option<String>,
    reads: Option<usize>,
    holds: bool,
    lets_pass: bool,
    wants: Option<Arc<Challenge>>,
    token: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
    path: Option<String>,
    sign: String,
    book: Arc<Book>,
}

/// A porter at the door: keeps some out, marks and counts the others.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name under which it signs what passes, in `X-Signed`.
    sign: String,
    /// The guest book it counts in; porters with the same book share it.
    book: String,
    /// A file with the user agents that are not let in, one a line.
    banned: Option<PathBuf>,
    /// A word that the body of every request must have.
    word: Option<String>,
    /// How much of a body it reads at most, to look for the word or for nothing at all.
    reads: Option<usize>,
    /// Whether it waits with that until everything else is decided.
    #[serde(default)]
    holds: bool,
    /// Whether it lets bodies pass that are longer.
    #[serde(default)]
    lets_pass: bool,
    /// The authentication scheme in which it wants more than anybody can prove.
    wants: Option<String>,
    /// Shown to the upstream in `X-Gateway-Token`, so that it knows by which way a request came.
    token: Option<SecretSource>,
    /// Headers that the upstream gets.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The path that the upstream is asked for in place of the client's.
    path: Option<String>,
    /// Whether digits in bodies become asterisks, both ways.
    #[serde(default)]
    mask: bool,
}

/// What porters have counted. It outlives reloads.
#[derive(Default)]
struct Book {
    built: AtomicUsize,
    begun: AtomicUsize,
    ended: AtomicUsize,
    requests: AtomicUsize,
}

impl Plugin for Porter {
    const NAME: &'static str = "porter";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let banned = config.banned.map(|path| cx.read_file("banned", &path)).transpose()?.unwrap_or_default();
        let token = config.token.map(|source| cx.secret("token", &source)).transpose()?;
        let wrong = |field: &str| BuildError::new(field, "this does not fit into a header");
        let headers = config.headers.iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let book = cx.shared(&config.book, Book::default);
        book.built.fetch_add(1, Relaxed);
        cx.background(on_duty(book.clone()));
        let porter = Arc::new(Self {
            banned: banned.split(|byte| *byte == b'\n').filter(|agent| !agent.is_empty()).map(<[u8]>::to_vec).collect(),
            token: token
                .map(|token| HeaderValue::from_bytes(token.expose()))
                .transpose()
                .map_err(|_| wrong("token"))?,
            headers: headers.collect::<Option<_>>().ok_or_else(|| wrong("headers"))?,
            word: config.word,
            reads: config.reads,
            holds: config.holds,
            lets_pass: config.lets_pass,
            wants: config.wants.map(|scheme| Arc::new(Challenge::new(scheme).parameter("error", "insufficient_scope"))),
            path: config.path,
            sign: config.sign,
            book,
        });
        // A hook that is left out costs nothing.
        Ok(Hooks {
            guard: (!porter.banned.is_empty()).then(|| porter.clone() as _),
            admit: porter.is_asked().then(|| porter.clone() as _),
            edit_request: Some(porter.clone()),
            edit_response: Some(porter.clone()),
            body: config.mask.then(|| porter.clone() as _),
            observe: Some(porter),
            ..Hooks::default()
        })
    }
}

/// Background work: it begins when the configuration is published, and is dropped with the policy.
async fn on_duty(book: Arc<Book>) {
    struct Shift(Arc<Book>);
    impl Drop for Shift {
        fn drop(&mut self) {
            self.0.ended.fetch_add(1, Relaxed);
        }
    }
    book.begun.fetch_add(1, Relaxed);
    let _shift = Shift(book);
    std::future::pending().await
}

impl Guard for Porter {
    fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
        let is_banned = cx.headers().get(USER_AGENT).is_some_and(|agent| self.banned.contains(agent.as_bytes()));
        let refusal = Refusal::forbidden(Reason::Plugin("agent_banned"));
        Answer::Now(Ok(if is_banned { Verdict::Refuse(refusal) } else { Verdict::Allow }))
    }
}

impl Admit for Porter {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        _: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        if let Some(wanted) = &self.wants {
            return Answer::Now(Ok(Verdict::Refuse(Refusal::insufficient_scope(wanted.clone()))));
        }
        let limit = self.reads.unwrap_or(64 << 10);
        if self.holds {
            let word = self.word.clone();
            let check = move |body: &[u8]| match has_word(word.as_deref(), body) {
                true => Ok(()),
                false => Err(Reason::Plugin("word_missing")),
            };
            cx.hold_body(limit, Box::new(check));
            return Answer::Now(Ok(Verdict::Allow));
        }
        // What has to be waited for is a future. The body that is read here is forwarded all the same.
        Answer::later(async move {
            Ok(match cx.body(limit).await {
                Ok(body) if has_word(self.word.as_deref(), &body) => Verdict::Allow,
                Ok(_) => Verdict::Refuse(Refusal::forbidden(Reason::Plugin("word_missing"))),
                Err(BodyError::TooLarge) if self.lets_pass => Verdict::Allow,
                Err(BodyError::TooLarge) => Verdict::Refuse(Refusal::body_too_large()),
                Err(BodyError::NoRoom) => return Err(failed("no room")),
                Err(BodyError::Broken(_)) => Verdict::Refuse(Refusal::bad_request(Reason::Plugin("body_broken"))),
            })
        })
    }
}

impl EditRequest for Porter {
    fn edit_request(&self, _: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError> {
        let token = self.token.iter().map(|token| (HeaderName::from_static("x-gateway-token"), token.clone()));
        for (name, value) in token.chain(self.headers.iter().cloned()) {
            head.set(name, value).map_err(failed)?;
        }
        if let Some(path) = &self.path {
            head.set_path(path).map_err(failed)?;
        }
        let signed = self.signed(head.headers().get(SIGNED))?;
        head.set(SIGNED, signed).map_err(failed)
    }
}

impl EditResponse for Porter {
    fn edit_response(&self, _: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError> {
        let Book { built, begun, ended, requests } = &*self.book;
        let [built, begun, ended, requests] = [built, begun, ended, requests].map(|count| count.load(Relaxed));
        let page = format!("built={built} begun={begun} ended={ended} requests={requests}");
        head.set(HeaderName::from_static("x-book"), page.parse().map_err(failed)?).map_err(failed)?;
        let signed = self.signed(head.headers().get(SIGNED))?;
        head.set(SIGNED, signed).map_err(failed)
    }
}

impl Body for Porter {
    fn begin(&self, _: &RequestCx<'_>) -> Option<Box<dyn BodyFilter>> {
        Some(Box::new(Mask))
    }
}

/// One request's bodies, as they pass.
struct Mask;

impl BodyFilter for Mask {
    fn request(&mut self, piece: &mut Option<Bytes>, _: bool) -> Result<(), Refusal> {
        if piece.as_ref().is_some_and(|piece| piece.windows(4).any(|word| word == b"spam")) {
            return Err(Refusal::too_many_requests(Reason::Plugin("spam"), Duration::from_millis(1500)));
        }
        mask(piece);
        Ok(())
    }

    fn response(&mut self, piece: &mut Option<Bytes>, _: bool) -> Result<(), PluginError> {
        mask(piece);
        Ok(())
    }
}

impl Observe for Porter {
    fn observe(&self, _: &Outcome<'_>) {
        self.book.requests.fetch_add(1, Relaxed);
    }
}

const SIGNED: HeaderName = HeaderName::from_static("x-signed");

impl Porter {
    /// Whether there is something to ask when it is known who calls.
    fn is_asked(&self) -> bool {
        self.word.is_some() || self.reads.is_some() || self.wants.is_some()
    }

    /// The signatures so far, and its own.
    fn signed(&self, before: Option<&HeaderValue>) -> Result<HeaderValue, PluginError> {
        let before = before.and_then(|before| before.to_str().ok()).map(|before| format!("{before} "));
        format!("{}{}", before.unwrap_or_default(), self.sign).parse().map_err(failed)
    }
}

fn has_word(word: Option<&str>, body: &[u8]) -> bool {
    word.is_none_or(|word| String::from_utf8_lossy(body).contains(word))
}

fn mask(piece: &mut Option<Bytes>) {
    let masked = |byte: &u8| if byte.is_ascii_digit() { b'*' } else { *byte };
    *piece = piece.take().map(|piece| piece.iter().map(masked).collect());
}

/// A failure refuses the request: 503.
fn failed(why: impl std::fmt::Display) -> PluginError {
    PluginError::new(why.to_string())
}
