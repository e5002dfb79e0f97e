//! The TLS of one listener in one snapshot, compiled.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use openssl::ssl::SslContext;
use portcullis_plugin::{SecretSource, UnixTime};

use super::{
    certificate::{self, Certified},
    clients::Clients,
    entry,
    ffi::TicketKeys,
    names::{self, Names},
};
use crate::{
    config::{Problems, Secrets, TlsDraft, file},
    telemetry::clock::rfc3339,
};

/// The TLS of one listener.
pub(crate) struct Tls {
    pub(super) file: file::Tls,
    /// The context that connections begin with, and the number of the key that seals their sessions.
    pub(super) entry: ArcSwap<(u64, SslContext)>,
    pub(super) tickets: Arc<TicketKeys>,
    pub(super) names: Arc<Names>,
    /// The time that a handshake may take.
    pub handshake_timeout: Duration,
    /// The interval at which its files are checked for changes, if they are.
    pub watch: Option<Duration>,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
    /// The end of each name's certificates: the earliest of several. The CAs of clients are among them, by their
    /// subjects.
    pub expiries: Vec<(String, UnixTime)>,
    /// The end of each list of revoked certificates, by the subject of its CA.
    pub lists: Vec<(String, UnixTime)>,
}

/// The remaining time below which a certificate is warned of: automatic renewal happens earlier.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

impl Tls {
    /// Reads the files and builds it; errors are added to `problems`. `listener` is its number, to which sessions are
    /// bound.
    pub(crate) fn build(
        draft: &TlsDraft<'_>,
        listener: usize,
        secrets: &Secrets,
        tickets: &Arc<TicketKeys>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let certificates: Vec<Arc<Certified>> = draft
            .file
            .certificates
            .0
            .iter()
            .enumerate()
            .filter_map(|(index, file)| Certified::read(file, index, &draft.location, secrets, problems))
            .map(Arc::new)
            .collect();
        let clients = Clients::read(&draft.clients, secrets, problems).map(Arc::new);
        let of_names: Vec<_> = draft
            .names
            .iter()
            .filter_map(|(name, draft)| Some((name.text.as_str(), Arc::new(Clients::read(draft, secrets, problems)?))))
            .collect();
        warn_of_unknown_names(draft, &certificates, problems);
        warn_of_ends(draft, &certificates, problems);
        certificate::refuse_duplicates(&certificates, &draft.location, problems);
        let clients = clients.filter(|_| problems.len() == before)?;
        let asked = std::iter::once(&clients).chain(of_names.iter().map(|(_, clients)| clients));
        let trusts: Vec<_> = asked.filter_map(|clients| clients.trust.as_ref()).collect();
        let (mut expiries, mut lists) = (certificate::expiries(&certificates), Vec::new());
        expiries.extend(trusts.iter().flat_map(|trust| trust.ca_expiries()).map(|(name, end)| (name.to_owned(), end)));
        lists.extend(trusts.iter().flat_map(|trust| trust.crls()).map(|(name, end)| (name.to_owned(), end)));
        let names = Names::build(&draft.file, listener, &certificates, &clients, &of_names);
        let built = names.and_then(|names| {
            let names = Arc::new(names);
            Ok((entry::entry(&draft.file, &names, tickets)?, names))
        });
        match built {
            Ok((entry, names)) => Some(Self {
                file: draft.file.clone(),
                entry: ArcSwap::from_pointee(entry),
                tickets: tickets.clone(),
                names,
                handshake_timeout: draft.file.handshake_timeout.0,
                watch: draft.file.watch.map(|every| every.0),
                files: files(draft, secrets),
                expiries,
                lists,
            }),
            Err(error) => {
                draft.location.problem(problems, "", format!("OpenSSL does not take this: {error}"));
                None
            }
        }
    }

    /// Returns the context that a new connection begins with. It is rebuilt after the key of sessions was replaced.
    pub(super) fn entry(&self) -> Arc<(u64, SslContext)> {
        let entry = self.entry.load_full();
        if entry.0 == self.tickets.number(Instant::now()) {
            return entry;
        }
        // OpenSSL accepted all of it before: only memory can fail, and then the old key is better than no connection.
        let Ok(anew) = entry::entry(&self.file, &self.names, &self.tickets) else { return entry };
        let anew = Arc::new(anew);
        self.entry.store(anew.clone());
        anew
    }
}

/// Warns of settings for a name that no certificate has: probably another name was meant, which goes without them.
fn warn_of_unknown_names(draft: &TlsDraft<'_>, certificates: &[Arc<Certified>], problems: &mut Problems) {
    for (name, _) in &draft.names {
        let known = certificates.iter().flat_map(|certificate| certificate.names.iter().map(String::as_str));
        if !names::covers(known, &name.text) {
            let text = "no certificate of this listener is for this name";
            problems.warn(name.file, name.span.clone(), name.path.clone(), text);
        }
    }
}

/// Warns of certificates that end soon, at a check and at a reload.
fn warn_of_ends(draft: &TlsDraft<'_>, certificates: &[Arc<Certified>], problems: &mut Problems) {
    let soon = UnixTime::now().after(ENDS_SOON);
    for certificate in certificates.iter().filter(|certificate| certificate.until < soon) {
        let path = format!("{}.certificates[{}].cert", draft.location.path, certificate.index);
        let text = format!("the certificate ends soon: {}", rfc3339(certificate.until));
        problems.warn(draft.location.file, certificate.span.clone(), path, text);
    }
}

/// Returns all files that a listener's TLS is read from.
fn files(draft: &TlsDraft<'_>, secrets: &Secrets) -> Vec<PathBuf> {
    let of_clients = |clients: &file::Clients| {
        let named = [&clients.client_ca, &clients.client_crl];
        named.into_iter().flatten().flat_map(|files| &files.0).map(|file| secrets.path(file)).collect::<Vec<_>>()
    };
    let mut files = of_clients(&draft.clients.file);
    files.extend(draft.names.iter().flat_map(|(_, clients)| of_clients(&clients.file)));
    for file::Certificate { cert, key, ocsp } in &draft.file.certificates.0 {
        files.push(secrets.path(cert.get_ref()));
        files.extend(ocsp.as_ref().map(|ocsp| secrets.path(ocsp.get_ref())));
        match &key.get_ref().0 {
            SecretSource::File(path) => files.push(secrets.path(path)),
            SecretSource::Credential(name) => files.extend(crate::config::secrets::credential_path(name).ok()),
            SecretSource::Env(_) | SecretSource::Value(_) => {}
        }
    }
    files
}
