//! The answers of `/status` and `/status/credentials`.

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use portcullis_plugin::{Credential, StatusPart};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{snapshot::Snapshot, telemetry::clock::rfc3339};

/// The most credentials on a page, and the default.
const PAGE_CREDENTIALS_MAX: usize = 1000;

/// The state of the gateway.
#[derive(Serialize)]
pub(super) struct Status<'s> {
    pub(super) version: &'static str,
    pub(super) started: String,
    pub(super) generation: u64,
    pub(super) stopping: bool,
    pub(super) connections: usize,
    pub(super) connections_rejected: u64,
    pub(super) streams_refused: u64,
    pub(super) floods_ended: u64,
    pub(super) requests_in_flight: u64,
    pub(super) log_lines_dropped: u64,
    pub(super) upstreams: Map<String, Value>,
    pub(super) tls: Map<String, Value>,
    /// The parts of each policy that has any.
    pub(super) policies: Map<String, Value>,
    /// The number of credentials, which `/status/credentials` lists.
    pub(super) credentials: usize,
    /// Their names.
    #[serde(serialize_with = "names")]
    pub(super) routes: &'s Snapshot,
}

fn names<S: Serializer>(snapshot: &&Snapshot, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(snapshot.routes().map(|route| &*route.record.name))
}

/// Returns what policies say of themselves.
pub(super) fn policies(snapshot: &Snapshot) -> Map<String, Value> {
    let policies = snapshot.instances.iter().filter(|(_, policy)| !policy.status.is_empty());
    let parts = policies.map(|(name, policy)| {
        let parts = policy.status.iter().map(|part| (part.title.clone(), rows(name, part).into()));
        (name.clone(), Value::Object(parts.collect()))
    });
    parts.collect()
}

/// Returns the rows of a part. A panic is a bug of the plugin, and takes nothing from the rest of the page.
fn rows(policy: &str, part: &StatusPart) -> Map<String, Value> {
    catch_unwind(AssertUnwindSafe(|| part.rows().into_map())).unwrap_or_else(|_| {
        let title = &part.title;
        log::error!(policy; "a plugin panicked while it was asked for `{title}` of /status: a bug in it");
        let error = "the plugin panicked: a bug in it".into();
        Map::from_iter([("error".to_owned(), error)])
    })
}

/// Writes a value as indented JSON.
pub(super) fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The requested page of credentials: `?limit=100&after=key-auth%2Facme-1`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The kind and id after which the page begins, in that order: that credential need not exist any more.
    after: Option<(String, String)>,
    limit: usize,
}

impl Wanted {
    /// Parses a query. Without one it is the first page. `None`: it is not valid.
    pub(super) fn parse(query: Option<&str>) -> Option<Self> {
        let (mut after, mut limit) = (None, None);
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            match pair.split_once('=')? {
                ("after", value) if after.is_none() => {
                    let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
                    let (kind, id) = value.split_once('/')?;
                    after = Some((kind.to_owned(), id.to_owned()));
                }
                ("limit", value) if limit.is_none() => {
                    limit = value.parse().ok().filter(|limit| (1..=PAGE_CREDENTIALS_MAX).contains(limit));
                    limit?;
                }
                _ => return None,
            }
        }
        Some(Self { after, limit: limit.unwrap_or(PAGE_CREDENTIALS_MAX) })
    }
}

/// A page of credentials, by kind and id, so that pages fit together even if a reload comes in between.
#[derive(Serialize)]
pub(super) struct Credentials<'s> {
    credentials: Vec<CredentialStatus<'s>>,
    /// The query of the next page, if there is one.
    next: Option<String>,
}

/// One credential of a page.
#[derive(Serialize)]
struct CredentialStatus<'s> {
    id: &'s str,
    kind: &'static str,
    consumer: &'s str,
    enabled: bool,
    expires: Option<String>,
    uses: u64,
    last_used: Option<String>,
    last_address: Option<String>,
}

impl<'s> Credentials<'s> {
    pub(super) fn of(snapshot: &'s Snapshot, wanted: &Wanted) -> Self {
        let name = |credential: &&'s Credential| (credential.kind, &*credential.id);
        let after = wanted.after.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str()));
        let all = snapshot.credentials.iter().map(AsRef::as_ref);
        let mut page: Vec<&Credential> = all.filter(|one| after.is_none_or(|after| name(one) > after)).collect();
        let has_more = page.len() > wanted.limit;
        if has_more {
            page.select_nth_unstable_by_key(wanted.limit, name);
            page.truncate(wanted.limit);
        }
        page.sort_unstable_by_key(name);
        let last = page.last().filter(|_| has_more);
        let next = last.map(|last| {
            let after = format!("{}/{}", last.kind, last.id);
            let after = percent_encoding::utf8_percent_encode(&after, percent_encoding::NON_ALPHANUMERIC);
            format!("/status/credentials?limit={}&after={after}", wanted.limit)
        });
        Self { credentials: page.into_iter().map(CredentialStatus::of).collect(), next }
    }
}

impl<'s> CredentialStatus<'s> {
    fn of(credential: &'s Credential) -> Self {
        let last = credential.usage.last();
        Self {
            id: &credential.id,
            kind: credential.kind,
            consumer: &credential.consumer.name,
            enabled: !credential.limits.disabled,
            expires: credential.limits.expires.map(rfc3339),
            uses: credential.usage.count(),
            last_used: last.map(|(time, _)| rfc3339(time)),
            last_address: last.map(|(_, address)| address.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_or_refused() {
        let wanted = |after: Option<(&str, &str)>, limit| {
            Some(Wanted { after: after.map(|(kind, id)| (kind.to_owned(), id.to_owned())), limit })
        };
        assert_eq!(Wanted::parse(None), wanted(None, PAGE_CREDENTIALS_MAX));
        assert_eq!(Wanted::parse(Some("limit=7")), wanted(None, 7));
        assert_eq!(Wanted::parse(Some("after=key-auth/a-1")), wanted(Some(("key-auth", "a-1")), PAGE_CREDENTIALS_MAX));
        assert_eq!(Wanted::parse(Some("limit=1000&after=jwt%2Fa%2Fb%20c")), wanted(Some(("jwt", "a/b c")), 1000));
        for wrong in [
            "",
            "limit",
            "limit=",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "limit=1&limit=2",
            "after=",
            "after=x",
            "after=a/b&after=a/b",
            "after=%ff/a",
            "id=acme-1",
            "limit=1&",
            "limit=99999999999999999999",
        ] {
            assert_eq!(Wanted::parse(Some(wrong)), None, "{wrong:?}");
        }
    }
}
