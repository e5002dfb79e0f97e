//! The admin listener: health, metrics and status. It changes nothing.
//!
//! It listens on loopback or a Unix socket, or asks for a token. `Host` is checked, so that a web page whose name was
//! rebound to a loopback address cannot read it through an operator's browser.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora_core::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use portcullis_plugin::{Secret, UnixTime};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    config::file::AdminAddress,
    front::Open,
    proxy::{
        refusal::{Answer, Problem},
        request_id::RequestId,
    },
    services::Services,
    snapshot::{Snapshot, router::host_key},
    telemetry::clock::rfc3339,
};

/// What the admin listener answers with.
pub struct Admin {
    services: Arc<Services>,
    current: Arc<ArcSwap<Snapshot>>,
    open: Arc<Open>,
    closing: watch::Receiver<bool>,
    /// The address it listens on, where that is one.
    own: Option<IpAddr>,
    started: UnixTime,
}

type Body = Response<Vec<u8>>;

impl Admin {
    /// Looks at a running gateway.
    pub fn new(
        services: Arc<Services>,
        current: Arc<ArcSwap<Snapshot>>,
        open: Arc<Open>,
        closing: watch::Receiver<bool>,
        listen: &AdminAddress,
    ) -> Self {
        let own = match listen {
            AdminAddress::Tcp(address) => Some(address.ip()),
            AdminAddress::Unix(_) => None,
        };
        Self { services, current, open, closing, own, started: UnixTime::now() }
    }

    fn answer(&self, method: &Method, path: &str, host: &[u8], authorization: Option<&[u8]>) -> Result<Body, Answer> {
        let snapshot = self.current.load();
        if !self.is_own_host(host) {
            return Err(Problem::Forbidden.into());
        }
        if let Some(token) = &snapshot.settings.admin_token
            && !authorization.is_some_and(|value| is_bearer(value, token))
        {
            let challenge = header::HeaderValue::from_static("Bearer realm=\"portcullis admin\"");
            return Err(Answer { challenges: vec![challenge], ..Problem::Unauthenticated.into() });
        }
        let is_known = matches!(path, "/healthz" | "/readyz" | "/metrics" | "/status");
        if is_known && method != Method::GET && method != Method::HEAD {
            return Err(Answer {
                allow: Some(header::HeaderValue::from_static("GET, HEAD")),
                ..Problem::MethodNotAllowed.into()
            });
        }
        match path {
            // Alive as long as it answers; ready as long as it takes new requests.
            "/healthz" => Ok(text(StatusCode::OK, "ok\n")),
            "/readyz" if *self.closing.borrow() => Ok(text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")),
            "/readyz" => Ok(text(StatusCode::OK, "ready\n")),
            "/metrics" => Ok(body(StatusCode::OK, prometheus::TEXT_FORMAT, self.services.metrics.render())),
            "/status" => Ok(body(StatusCode::OK, "application/json", format!("{:#}\n", self.status(&snapshot)))),
            _ => Err(Problem::RouteNotFound.into()),
        }
    }

    /// Loopback names, addresses written as such, and nothing that DNS could point here.
    fn is_own_host(&self, host: &[u8]) -> bool {
        let Some(own) = self.own else { return true };
        let Some(name) = host_key(host) else { return false };
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address == own || own.is_unspecified(),
            Err(_) => name == "localhost" || !own.is_loopback(),
        }
    }

    fn status(&self, snapshot: &Snapshot) -> Value {
        let routes = snapshot.routes().map(|route| route.record.name.as_ref());
        let credentials = snapshot.credentials.iter().map(|credential| {
            let last = credential.usage.last();
            json!({
                "id": &*credential.id,
                "kind": credential.kind,
                "consumer": credential.consumer.name,
                "enabled": !credential.limits.disabled,
                "expires": credential.limits.expires.map(rfc3339),
                "uses": credential.usage.count(),
                "last_used": last.map(|(time, _)| rfc3339(time)),
                "last_address": last.map(|(_, address)| address.to_string()),
            })
        });
        let upstreams = snapshot.upstreams.iter().map(|upstream| (upstream.name.to_string(), upstream.status()));
        let listeners = snapshot.settings.listeners.iter().enumerate();
        let tls = listeners
            .filter_map(|(number, listener)| Some((format!("listeners[{number}]"), listener.tls.as_ref()?.status())));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": rfc3339(self.started),
            "generation": snapshot.generation,
            "stopping": *self.closing.borrow(),
            "connections": self.open.connections(),
            "connections_turned_away": self.open.turned_away(),
            "streams_refused": self.open.streams_refused(),
            "floods_ended": self.open.floods(),
            "requests_in_flight": self.open.in_flight(),
            "log_lines_dropped": self.services.output.dropped(),
            "routes": routes.collect::<Vec<_>>(),
            "upstreams": upstreams.collect::<serde_json::Map<_, _>>(),
            "tls": tls.collect::<serde_json::Map<_, _>>(),
            "credentials": credentials.collect::<Vec<_>>(),
        })
    }
}

fn is_bearer(value: &[u8], token: &Secret) -> bool {
    let (scheme, given) = value.split_at(value.len().min(7));
    scheme.eq_ignore_ascii_case(b"bearer ") && Secret::new(given.trim_ascii().to_vec()) == *token
}

fn text(status: StatusCode, text: &str) -> Body {
    body(status, "text/plain; charset=utf-8", text.to_owned())
}

fn body(status: StatusCode, content_type: &str, body: String) -> Body {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::CACHE_CONTROL, "no-store");
    response.body(body.into_bytes()).expect("a status and constant headers")
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Body {
        let head = session.req_header();
        let host = head.headers.get(header::HOST).map_or(&b""[..], http::HeaderValue::as_bytes);
        let authorization = head.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let answered = self.answer(&head.method, head.uri.path(), host, authorization);
        let is_head = head.method == Method::HEAD;
        let mut response = answered.unwrap_or_else(|answer| {
            let (head, body) = answer.response(RequestId::random().as_str(), false);
            let mut response = Response::new(body.to_vec());
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers.clone();
            response
        });
        if is_head {
            response.body_mut().clear();
        }
        response
    }
}
