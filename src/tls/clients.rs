//! Client certificates: who is asked for one, and the CAs that are trusted for it.

use std::fmt::Display;

use portcullis_plugin::UnixTime;
use portcullis_x509::{CRL_MAX_BYTES, Crl, CrlPolicy, Trust};
use sha2::{Digest, Sha256};

use crate::{
    certificates::CERTIFICATES_MAX_BYTES,
    config::{ClientsDraft, Problems, Secrets, file},
    files,
};

/// The most intermediate certificates of a client's chain, unless the file sets another limit.
const MAX_CHAIN_DEPTH: u32 = 4;

/// The client certificate settings of a server name.
pub(super) struct Clients {
    /// The policy on asking.
    pub(super) auth: file::ClientAuth,
    /// The trusted CAs, if clients are asked.
    pub(super) trust: Option<Trust>,
    /// The fingerprint of all of this: names with the same one treat clients alike.
    pub(super) fingerprint: [u8; 32],
}

impl Clients {
    pub(super) fn read(draft: &ClientsDraft<'_>, secrets: &Secrets, problems: &mut Problems) -> Option<Self> {
        let file::Clients { client_auth, client_ca, client_crl, crl, max_chain_depth } = &draft.file;
        let (Some(cas), false) = (client_ca, *client_auth == file::ClientAuth::Off) else {
            return Some(Self { auth: file::ClientAuth::Off, trust: None, fingerprint: [0; 32] });
        };
        let cas = read(cas, secrets, CERTIFICATES_MAX_BYTES, portcullis_x509::certificates);
        let cas = cas.map_err(|why| draft.problem(problems, "client_ca", why)).ok();
        let crls = client_crl.as_ref().map_or(Ok(Vec::new()), |crls| read(crls, secrets, CRL_MAX_BYTES, Crl::parse));
        let crls = crls.map_err(|why| draft.problem(problems, "client_crl", why)).ok();
        let (cas, crls) = (cas?, crls?);
        let policy = match crl {
            file::CrlPolicy::IfPresent => CrlPolicy::IfPresent,
            file::CrlPolicy::Required => CrlPolicy::Required,
        };
        let depth = max_chain_depth.map_or(MAX_CHAIN_DEPTH, |depth| u32::from(depth.get()));
        let trust = Trust::new(cas, crls, policy, depth).and_then(|trust| trust.check(UnixTime::now()).map(|()| trust));
        match trust {
            Ok(trust) => {
                let fingerprint = fingerprint(*client_auth, &trust);
                Some(Self { auth: *client_auth, trust: Some(trust), fingerprint })
            }
            Err(why) => {
                let field = if why.is_about_crls() { "client_crl" } else { "client_ca" };
                draft.problem(problems, field, why.to_string());
                None
            }
        }
    }

    /// Returns whether a connection under these settings may go on under those of `other`.
    pub(super) fn are_like(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

fn fingerprint(auth: file::ClientAuth, trust: &Trust) -> [u8; 32] {
    Sha256::new().chain_update([auth as u8 + 1]).chain_update(trust.fingerprint()).finalize().into()
}

/// Reads the objects in all of these files.
fn read<T, E: Display>(
    files: &file::Files,
    secrets: &Secrets,
    max_bytes: usize,
    parse: impl Fn(&[u8]) -> Result<Vec<T>, E>,
) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for file in &files.0 {
        let path = secrets.path(file);
        let bytes = files::read(&path, max_bytes)?;
        found.extend(parse(&bytes).map_err(|why| format!("`{}` {why}", path.display()))?);
    }
    Ok(found)
}
