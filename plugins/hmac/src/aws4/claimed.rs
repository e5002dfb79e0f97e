//! Reads the signature of a request and its parameters, in the header or in the query.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use portcullis_plugin::{
    UnixTime,
    http::{HeaderMap, HeaderName},
};

use super::canonical::Query;
use crate::{
    instant,
    parameters::Parameters,
    scheme::{KEY_ID_MAX_BYTES, Wrong},
};

/// The authentication scheme, and what every string to sign begins with.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The parameter of a presigned URL that its signature does not cover: it is the signature.
pub(crate) const SIGNATURE: &str = "X-Amz-Signature";
/// The parameter that goes with temporary credentials.
pub(crate) const SECURITY_TOKEN: &str = "X-Amz-Security-Token";
/// All parameters that make a URL a presigned one. They open the gateway and are none of the upstream's business.
pub(crate) const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    SIGNATURE,
    SECURITY_TOKEN,
];

/// The longest validity of a presigned URL that AWS itself allows: 7 days.
const EXPIRES_MAX_SECONDS: u64 = 604_800;
/// The most headers that a signature may cover.
pub(crate) const SIGNED_HEADERS_MAX_COUNT: usize = 64;

/// A signature and what goes with it, read but not believed.
pub(crate) struct Claimed<'c> {
    /// The access key that made it.
    pub access_key: &'c str,
    /// `20150830/us-east-1/service/aws4_request`: what the key is derived for.
    pub scope: &'c str,
    /// The region in the scope.
    pub region: &'c str,
    /// The service in the scope.
    pub service: &'c str,
    /// Lower case, in ascending order, each once.
    pub signed_headers: Vec<&'c str>,
    /// As it came, decoded.
    pub signature: [u8; 32],
    /// The time, as it was signed.
    pub date: &'c str,
    /// The time.
    pub created: UnixTime,
    /// The validity of a presigned URL; `None` for a signature in the header.
    pub lifetime: Option<Duration>,
}

/// Returns `true` if the query has any of the parameters of a presigned URL. Names are compared as by
/// [`portcullis_plugin::Places`], so that whatever is taken out was also judged.
pub(crate) fn is_presigned(query: Option<&str>) -> bool {
    let names = query.unwrap_or_default().split('&').map(|parameter| parameter.split('=').next().unwrap_or_default());
    let is_ours = |name: &str| PARAMETERS.iter().any(|of| percent_decode_str(name).eq(of.bytes()));
    names.into_iter().any(is_ours)
}

/// The value of a header that may be there once, in visible ASCII.
pub(crate) fn single<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<Option<&'r str>, Wrong> {
    let mut lines = headers.get_all(HeaderName::from_static(name)).into_iter();
    let first = lines.next().map(|line| line.to_str());
    match (first, lines.next()) {
        (first, None) => first.transpose().map_err(|_| Wrong::malformed("an x-amz-* header is not ASCII")),
        (_, Some(_)) => Err(Wrong::malformed("an x-amz-* header twice")),
    }
}

impl<'c> Claimed<'c> {
    /// `Credential=..., SignedHeaders=..., Signature=...` and `X-Amz-Date`.
    pub(super) fn in_header(header: &'c [u8], headers: &'c HeaderMap) -> Result<Self, Wrong> {
        let mut parameters = Parameters::read(header)?;
        let (credential, signed) = (parameters.take("Credential")?, parameters.take("SignedHeaders")?);
        let signature = parameters.take("Signature")?;
        parameters.finish()?;
        let date = single(headers, "x-amz-date")?.ok_or(Wrong::incomplete("no X-Amz-Date"))?;
        Self::new(credential, signed, signature, date, None)
    }

    /// The parameters of a presigned URL.
    pub(super) fn in_query(query: &'c Query) -> Result<Self, Wrong> {
        let value = |name| query.value(name)?.ok_or(Wrong::malformed("a parameter of a presigned URL is not there"));
        if value("X-Amz-Algorithm")? != ALGORITHM {
            return Err(Wrong::malformed("a presigned URL of another algorithm"));
        }
        let lifetime = lifetime(value("X-Amz-Expires")?)?;
        let (credential, signed) = (value("X-Amz-Credential")?, value("X-Amz-SignedHeaders")?);
        Self::new(credential, signed, value(SIGNATURE)?, value("X-Amz-Date")?, Some(lifetime))
    }

    fn new(
        credential: &'c str,
        signed: &'c str,
        signature: &str,
        date: &'c str,
        lifetime: Option<Duration>,
    ) -> Result<Self, Wrong> {
        let (access_key, scope) = split_credential(credential)?;
        let [day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
            return Err(Wrong::malformed("the credential's scope does not end in aws4_request"));
        };
        let created = instant::iso_basic(date).ok_or(Wrong::malformed("X-Amz-Date is not a time"))?;
        if !date.starts_with(day) || day.len() != 8 {
            return Err(Wrong::malformed("X-Amz-Date is not of the credential's day"));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes)
            .map_err(|_| Wrong::malformed("the signature is not hexadecimal"))?;
        let signed_headers = signed_headers(signed)?;
        Ok(Self { access_key, scope, region, service, signed_headers, signature: bytes, date, created, lifetime })
    }
}

/// The access key, and the scope after it.
fn split_credential(credential: &str) -> Result<(&str, &str), Wrong> {
    let mut slashes = credential.rmatch_indices('/').map(|(index, _)| index);
    let end = slashes.nth(3).filter(|end| (1..=KEY_ID_MAX_BYTES).contains(end));
    let end = end.ok_or(Wrong::malformed("the credential is not an access key and a scope"))?;
    Ok((&credential[..end], &credential[end + 1..]))
}

/// Lower case and sorted, as every client writes them; so none can be there twice.
fn signed_headers(list: &str) -> Result<Vec<&str>, Wrong> {
    let names: Vec<_> = list.split(';').take(SIGNED_HEADERS_MAX_COUNT + 1).collect();
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(is_lower_case_of_name);
    let is_sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
    if names.len() > SIGNED_HEADERS_MAX_COUNT || !is_sorted || !names.iter().all(is_name) {
        return Err(Wrong::malformed("the list of signed headers is too long, not sorted or not of names"));
    }
    Ok(names)
}

fn is_lower_case_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn lifetime(seconds: &str) -> Result<Duration, Wrong> {
    let digits = Some(seconds).filter(|text| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds =
        digits.and_then(|text| text.parse().ok()).filter(|seconds| (1..=EXPIRES_MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(Wrong::malformed("X-Amz-Expires is not between 1 and 604800 seconds"))
}
