//! Sends people to a page of their own to log in, and knows them by a cookie. The page is outside: it sends people back
//! to `/login/callback` with a ticket, `NAME.SECRET`, with a secret that both know, and the ticket becomes the cookie.
//! That is enough to show how a login answers, and too little to rely on: the secret is the same for all.

use std::sync::Arc;

use portcullis::plugin::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The cookie of a person who has logged in.
const COOKIE: &str = "session";
const REMOVED: HeaderValue = HeaderValue::from_static("session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");

/// The plugin, and a policy of it that is ready to look at cookies.
pub struct Login {
    page: String,
    secret: Secret,
}

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
        let it = Arc::new(Self { page: config.page, secret });
        let (authenticate, serve) = (Some(it.clone() as _), Some(it.clone() as _));
        Ok(Hooks { authenticate, serve, edit_response: Some(it), ..Hooks::default() })
    }
}

impl Authenticate for Login {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let name = match self.places().find(cx.head()) {
            Found::Absent => return Answer::Now(self.login(cx, None)),
            Found::One(cookie) => self.open(&cookie),
            Found::Conflict => None,
        };
        Answer::Now(name.map_or_else(|| self.login(cx, Some(REMOVED)), |name| self.granted(name)))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![Challenge::new("Cookie").parameter("cookie-name", COOKIE)]
    }

    fn places(&self) -> Places {
        Places(vec![Place::Cookie(COOKIE.to_owned())])
    }
}

/// The page sends people back here.
impl Serve for Login {
    fn paths(&self) -> Vec<OwnPath> {
        vec![OwnPath::new("/login/callback", [Method::GET, Method::POST])]
    }

    fn serve<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Respond, PluginError>> {
        Answer::Now(self.called_back(cx.head()))
    }
}

/// What needs a session is not kept by a browser that has lost it.
impl EditResponse for Login {
    fn edit_response(&self, cx: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError> {
        let has_session = cx.identity().is_some_and(|identity| identity.method == "login");
        if has_session && !head.headers().contains_key(header::CACHE_CONTROL) {
            head.set(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))?;
        }
        Ok(head.append(header::VARY, HeaderValue::from_static("Cookie"))?)
    }
}

impl Login {
    /// The name in a cookie that the page has made.
    fn open(&self, cookie: &[u8]) -> Option<String> {
        let (name, secret) = str::from_utf8(cookie).ok()?.rsplit_once('.')?;
        // Secrets compare in constant time.
        (!name.is_empty() && self.secret == Secret::new(secret.into())).then(|| name.to_owned())
    }

    fn granted(&self, name: String) -> Result<Authentication, PluginError> {
        let edits = edits(Some(self.session(&name)?))?;
        let identity = Identity { method: "login".to_owned(), subject: Some(name), ..Identity::default() };
        Ok(Authentication::GrantedWith(Arc::new(identity), edits))
    }

    fn session(&self, name: &str) -> Result<HeaderValue, PluginError> {
        let attributes = b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";
        let cookie = [b"session=", name.as_bytes(), b".", self.secret.expose(), attributes].concat();
        HeaderValue::from_bytes(&cookie).map_err(|_| PluginError::new("the secret does not fit into a cookie"))
    }

    /// A ticket becomes a cookie, and its owner goes on to a page of ours.
    fn called_back(&self, head: &Parts) -> Result<Respond, PluginError> {
        let one = |name: &str| match Places(vec![Place::Query(name.to_owned())]).find(head) {
            Found::One(value) => String::from_utf8(value.to_vec()).ok(),
            _ => None,
        };
        let is_ours = |to: &String| to.starts_with('/') && !to[1..].starts_with(['/', '\\']);
        match (one("ticket").and_then(|ticket| self.open(ticket.as_bytes())), one("to").filter(is_ours)) {
            (Some(name), Some(to)) => Ok(Respond::see_other(Reason::Plugin("logged_in"), &to)?
                .header(header::SET_COOKIE, self.session(&name)?)?),
            _ => Ok(Respond::page(StatusCode::FORBIDDEN, Reason::Plugin("ticket_wrong"), "<p>That did not work.")),
        }
    }

    /// Whoever navigates is sent to the page; a script is told where it is.
    fn login(&self, cx: &RequestCx<'_>, cookie: Option<HeaderValue>) -> Result<Authentication, PluginError> {
        let reason = Reason::Plugin("login_needed");
        let page = format!("{}{}", self.page, cx.path());
        let answer = if is_navigation(cx.method(), cx.headers()) {
            Respond::redirect(reason, &page)?
        } else {
            Respond::json(StatusCode::UNAUTHORIZED, reason, &serde_json::json!({ "login_url": page }))
        };
        Ok(Absence::new().proposing(answer).with(edits(cookie)?).into())
    }
}

fn edits(cookie: Option<HeaderValue>) -> Result<HeaderEdits, PluginError> {
    let mut edits = HeaderEdits::new();
    cookie.map(|cookie| edits.append(header::SET_COOKIE, cookie).map(drop)).transpose()?;
    Ok(edits)
}

/// A browser that shows a page says so, or asks for HTML by name.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(HeaderName::from_static(name)).map(|said| said == value);
    let asks_for_html = || headers.get("accept").is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let navigates = is("sec-fetch-mode", "navigate").unwrap_or_else(asks_for_html);
    method == Method::GET && navigates && is("sec-fetch-dest", "document") != Some(false)
}
