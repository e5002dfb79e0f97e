//! Sends people to a page of their own to log in, and knows them by the cookie that the page gave them. The page is
//! outside: it says who a person is by `session=NAME.SECRET`, with a secret that both know. That is enough to show how a
//! login answers, and too little to rely on: the secret is the same for all.

use std::sync::Arc;

use portcullis::plugin::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The cookie of a person who has logged in.
const COOKIE: &str = "session";

/// The plugin.
pub struct Login;

/// People log in on a page.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address of the page. The path that was asked for is added to it.
    page: String,
    /// The secret that the page puts into cookies.
    secret: SecretSource,
}

impl Plugin for Login {
    const NAME: &'static str = "login";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        cx.cookie(COOKIE)?;
        let secret = cx.secret("secret", &config.secret)?;
        let removed = HeaderValue::from_static("session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        let mut forget = HeaderEdits::new();
        forget.append(header::SET_COOKIE, removed).map_err(|why| BuildError::new("", why.to_string()))?;
        let sessions = Arc::new(Sessions { page: config.page, secret, forget });
        Ok(Hooks { authenticate: Some(sessions.clone()), edit_response: Some(sessions), ..Hooks::default() })
    }
}

/// A policy, ready to look at cookies.
struct Sessions {
    page: String,
    secret: Secret,
    forget: HeaderEdits,
}

/// Kept with a request that a cookie let in.
struct HasSession;

impl Authenticate for Sessions {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        Answer::Now(match self.cookie().find(cx.head()) {
            Found::Absent => self.login(cx, HeaderEdits::new()),
            Found::One(cookie) => match self.open(&cookie) {
                Some(name) => self.granted(cx, name),
                None => self.login(cx, self.forget.clone()),
            },
            Found::Conflict => self.login(cx, self.forget.clone()),
        })
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![Challenge::new("Cookie").parameter("cookie-name", COOKIE)]
    }

    fn places(&self) -> Places {
        self.cookie()
    }
}

/// What needs a session is not kept by a browser that has lost it.
impl EditResponse for Sessions {
    fn edit_response(&self, cx: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError> {
        if cx.data::<HasSession>().is_some() && !head.headers().contains_key(header::CACHE_CONTROL) {
            head.set(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))?;
        }
        Ok(head.append(header::VARY, HeaderValue::from_static("Cookie"))?)
    }
}

impl Sessions {
    fn cookie(&self) -> Places {
        Places(vec![Place::Cookie(COOKIE.to_owned())])
    }

    /// The name in a cookie that the page has made.
    fn open(&self, cookie: &[u8]) -> Option<String> {
        let (name, secret) = str::from_utf8(cookie).ok()?.rsplit_once('.')?;
        // Secrets compare in constant time.
        (!name.is_empty() && self.secret == Secret::new(secret.into())).then(|| name.to_owned())
    }

    fn granted(&self, cx: &RequestCx<'_>, name: String) -> Result<Authentication, PluginError> {
        cx.set_data(HasSession);
        let secret = str::from_utf8(self.secret.expose()).map_err(failed)?;
        let renewed = format!("session={name}.{secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
        let mut edits = HeaderEdits::new();
        edits.append(header::SET_COOKIE, renewed.parse().map_err(failed)?)?;
        let identity = Identity { method: "login".to_owned(), subject: Some(name), ..Identity::default() };
        Ok(Authentication::GrantedWith(Arc::new(identity), edits))
    }

    /// Whoever navigates is sent to the page; a script is told where it is.
    fn login(&self, cx: &RequestCx<'_>, forget: HeaderEdits) -> Result<Authentication, PluginError> {
        let reason = Reason::Plugin("login_needed");
        let page = format!("{}{}", self.page, cx.path());
        let answer = if is_navigation(cx.method(), cx.headers()) {
            Respond::redirect(reason, &page)?
        } else {
            Respond::json(StatusCode::UNAUTHORIZED, reason, &serde_json::json!({ "login_url": page }))
        };
        Ok(Absence::new().proposing(answer).with(forget).into())
    }
}

/// A browser that shows a page says so, or asks for HTML by name.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(HeaderName::from_static(name)).map(|said| said == value);
    let asks_for_html = || headers.get("accept").is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let navigates = is("sec-fetch-mode", "navigate").unwrap_or_else(asks_for_html);
    method == Method::GET && navigates && is("sec-fetch-dest", "document") != Some(false)
}

/// A failure refuses the request: 503.
fn failed(why: impl std::fmt::Display) -> PluginError {
    PluginError::new(why.to_string())
}
