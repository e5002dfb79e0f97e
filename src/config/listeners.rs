//! `[[listeners]]`. It is walked by hand, because the fields about clients stand beside other fields as well as under
//! server names.

use std::{collections::HashMap, net::SocketAddr};

use super::{
    file,
    location::Location,
    node::{Name, Node},
    problem::Problems,
    value_lints,
};

/// A listener before its certificates are read.
pub(crate) struct ListenerDraft<'i> {
    /// Its decoded fields.
    pub file: file::Listener,
    /// Its TLS settings; `None`: connections are plain.
    pub tls: Option<TlsDraft<'i>>,
    /// The location of its address.
    pub location: Location,
}

/// `[listeners.tls]` before its files are read.
pub(crate) struct TlsDraft<'i> {
    /// Its decoded fields.
    pub file: file::Tls,
    /// The client certificate settings of the listener.
    pub clients: ClientsDraft<'i>,
    /// The client certificate settings of single server names.
    pub names: Vec<(Name, ClientsDraft<'i>)>,
    /// Its location.
    pub location: Location,
}

/// Client certificate settings, before the files with CAs are read.
pub(crate) struct ClientsDraft<'i> {
    /// Its decoded fields.
    pub file: file::Clients,
    node: Node<'i>,
}

impl<'i> ClientsDraft<'i> {
    fn read(node: Node<'i>, problems: &mut Problems) -> Option<Self> {
        let draft = Self { file: node.clone().decode(problems)?, node };
        draft.check(problems);
        Some(draft)
    }

    /// Checks that the fields fit together, because a setting that is accepted must also be enforced: CAs without
    /// asking for certificates are an error, and so is asking without CAs.
    fn check(&self, problems: &mut Problems) {
        let file::Clients { client_auth, client_ca, client_crl, crl, max_chain_depth } = &self.file;
        let is_asked = *client_auth != file::ClientAuth::Off;
        if is_asked && client_ca.is_none() {
            let text = "set `client_ca` to the CAs of your clients: public CAs are not trusted";
            self.problem(problems, "client_auth", text);
        }
        let given = [
            ("client_ca", client_ca.is_some()),
            ("client_crl", client_crl.is_some()),
            ("crl", self.node.has("crl")),
            ("max_chain_depth", max_chain_depth.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, is_given)| *is_given && !is_asked) {
            self.problem(problems, field, "no client is asked for a certificate: set `client_auth`");
        }
        if is_asked && *crl == file::CrlPolicy::Required && client_crl.is_none() {
            self.problem(problems, "crl", "every CA has to have a CRL, and there is no `client_crl`");
        }
    }

    /// Adds an error about a field of it.
    pub(crate) fn problem(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let path = format!("{}.{field}", self.node.path);
        problems.add(self.node.file, self.node.span_of(field), path, text);
    }
}

/// Reads all listeners.
pub(super) fn read<'i>(nodes: Vec<Node<'i>>, problems: &mut Problems) -> Vec<ListenerDraft<'i>> {
    let drafts: Vec<_> = nodes.into_iter().filter_map(|node| listener(node, problems)).collect();
    let mut seen: HashMap<SocketAddr, &Location> = HashMap::new();
    for ListenerDraft { file, location, .. } in drafts.iter().filter(|draft| takes_a_port(draft.file.address)) {
        match seen.entry(file.address) {
            std::collections::hash_map::Entry::Vacant(free) => _ = free.insert(location),
            std::collections::hash_map::Entry::Occupied(taken) => {
                location.problem(problems, "address", format!("{} listens there already", taken.get().path));
            }
        }
    }
    drafts
}

/// Returns whether a listener at this address excludes others at the same one. With port 0 each gets a port of its own.
pub(super) fn takes_a_port(address: SocketAddr) -> bool {
    address.port() != 0
}

fn listener<'i>(mut node: Node<'i>, problems: &mut Problems) -> Option<ListenerDraft<'i>> {
    let location = Location { span: node.span_of("address"), ..Location::of(&node) };
    let is_secure = node.has("tls");
    let tls = node.take("tls").map(|node| tls(node, problems));
    let only = |field: &str, text: &str, problems: &mut Problems| {
        problems.add(node.file, node.span_of(field), format!("{}.{field}", node.path), text);
    };
    if is_secure && node.has("h2c") {
        only("h2c", "this listener speaks TLS, where `tls.http2` offers HTTP/2", problems);
    }
    if is_secure && node.has("https_redirect") {
        only("https_redirect", "this listener speaks TLS: there is nothing to send clients to", problems);
    }
    if !is_secure && node.has("hsts") {
        let text = "only a listener that speaks TLS may send it (RFC 6797 section 7.2)";
        only("hsts", text, problems);
    }
    let what = "anyone who connects can claim any address; name your load balancers' networks";
    value_lints::networks(node.entry("proxy_protocol"), what, problems);
    let file = node.knowing(&["tls"]).decode(problems)?;
    let tls = match tls {
        // The error has been reported.
        Some(None) => return None,
        Some(Some(tls)) => Some(tls),
        None => None,
    };
    Some(ListenerDraft { file, tls, location })
}

fn tls<'i>(mut node: Node<'i>, problems: &mut Problems) -> Option<TlsDraft<'i>> {
    let location = Location::of(&node);
    let mut shared = node.shell();
    file::Clients::FIELDS.iter().for_each(|field| shared.move_from(&mut node, field));
    let clients = ClientsDraft::read(shared, problems);
    let names = node.take("names").map(|names| names.entries(problems)).unwrap_or_default();
    let mut known: Vec<(Name, ClientsDraft<'_>)> = Vec::new();
    for (name, mut node) in names {
        refuse_unquoted(&name, &mut node, problems);
        if !is_server_name(&name.text) {
            name.problem(problems, "a server name is a host in lower case, with `*` as its first label or without");
        }
        known.extend(ClientsDraft::read(node, problems).map(|clients| (name, clients)));
    }
    let of_ciphers = node.span_of("ciphers");
    let also_known = &["names", "client_auth", "client_ca", "client_crl", "crl", "max_chain_depth"];
    let file = node.knowing(also_known).decode::<file::Tls>(problems)?;
    if file.ciphers.is_some() && file.min_version == file::Version::Tls13 {
        let text = "these are for TLS 1.2, which `min_version` leaves out; for 1.3 there are `ciphersuites`";
        problems.add(location.file, of_ciphers, format!("{}.ciphers", location.path), text);
    }
    Some(TlsDraft { file, clients: clients?, names: known, location })
}

/// Refuses a server name without quotes, which TOML reads as nested tables. Those are taken out with their content.
fn refuse_unquoted(name: &Name, node: &mut Node<'_>, problems: &mut Problems) {
    // Within a quoted name, a table is a mistake of another kind.
    if name.text.contains('.') || !node.is_table() {
        return;
    }
    for (label, below) in node.clone().entries(problems).into_iter().filter(|(_, below)| below.is_table()) {
        node.take(&label.text);
        for whole in unquoted(format!("{}.{}", name.text, label.text), below) {
            label.problem(problems, format!("put the name in quotes: `[listeners.tls.names.\"{whole}\"]`"));
        }
    }
}

/// Returns the names that the nested tables were meant as.
fn unquoted(name: String, node: Node<'_>) -> Vec<String> {
    let tables = node.entries(&mut Problems::default()).into_iter().filter(|(_, below)| below.is_table());
    let names: Vec<_> = tables.flat_map(|(label, below)| unquoted(format!("{name}.{}", label.text), below)).collect();
    if names.is_empty() { vec![name] } else { names }
}

/// Returns whether this is a server name that a client can ask for (RFC 6066 section 3): no address.
fn is_server_name(name: &str) -> bool {
    let exact = name.strip_prefix("*.").unwrap_or(name);
    let key = crate::router::host_key(exact.as_bytes());
    let is_host = key.is_some_and(|key| key == exact) && !exact.contains([':', '[', '*']) && !exact.is_empty();
    // The last label of a name is never a number: some read such a name as an address (WHATWG URL, 3.5).
    is_host && !exact.rsplit('.').next().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit()))
}
