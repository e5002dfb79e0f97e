//! The header `Digest` (RFC 3230): `SHA-256=<Base64>`, or several with commas between.

use portcullis_plugin::http::HeaderMap;

use crate::{
    body::{BodyDigest, Hash},
    scheme::Wrong,
    tag::base64,
};

/// The most digests of one body: each costs another pass over it.
const DIGESTS_MAX_COUNT: usize = 2;

/// The digests that we know: at least one. Others are passed over, for whoever sends an old one beside a good one.
pub(super) fn read(headers: &HeaderMap) -> Result<Vec<BodyDigest>, Wrong> {
    let mut digests = Vec::new();
    for line in headers.get_all("digest") {
        let line = line.to_str().map_err(|_| Wrong::malformed("Digest is not ASCII"))?;
        for item in line.split(',').map(str::trim_ascii) {
            let (name, value) = item.split_once('=').ok_or(Wrong::malformed("Digest cannot be read"))?;
            let hash = match name {
                _ if name.eq_ignore_ascii_case("sha-256") => Hash::Sha256,
                _ if name.eq_ignore_ascii_case("sha-512") => Hash::Sha512,
                _ => continue,
            };
            if digests.len() == DIGESTS_MAX_COUNT {
                return Err(Wrong::malformed("Digest has too many digests"));
            }
            let digest = base64(value.as_bytes()).and_then(|value| BodyDigest::new(hash, value));
            digests.push(digest.ok_or(Wrong::malformed("Digest holds no digest of its algorithm"))?);
        }
    }
    if digests.is_empty() { Err(Wrong::incomplete("no Digest that can be checked")) } else { Ok(digests) }
}
