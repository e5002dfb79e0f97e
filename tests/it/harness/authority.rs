//! A certificate authority of a test: it signs whatever the test wants, also what no honest one would.
//!
//! ```ignore
//! let authority = Authority::new("Orders CA");
//! let server = authority.issue(Leaf::server("orders.internal").ip("127.0.0.1"));
//! let late = authority.issue(Leaf::client("late").valid(-30, -1));
//! std::fs::write("server.pem", server.chain_pem())?;
//! ```

use std::time::{Duration, SystemTime};

use openssl::{
    asn1::{Asn1Integer, Asn1Time},
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Builder, X509Name, X509NameBuilder,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
            SubjectKeyIdentifier,
        },
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority: a root, or one that another has signed.
#[derive(Clone)]
pub(crate) struct Authority(Pair);

/// A certificate with its key, and the certificates between it and its root.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The certificate itself.
    pub(crate) certificate: X509,
    /// Its key.
    pub(crate) key: PKey<Private>,
    /// Who signed it, who signed that one, and so on, without the root.
    pub(crate) intermediates: Vec<X509>,
}

/// What an end certificate says.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    common_name: String,
    names: Vec<Name>,
    days: (i64, i64),
    purpose: Purpose,
    key: KeyType,
}

#[derive(Clone, Debug)]
enum Name {
    Dns(String),
    Ip(String),
    Uri(String),
}

/// What an end certificate may be used for (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Client,
    Both,
    /// It says nothing about it.
    Unsaid,
    /// Something else altogether.
    CodeSigning,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    P256,
    P384,
    Rsa2048,
    /// Too short for anyone.
    Rsa1024,
    Ed25519,
}

impl Authority {
    /// A root of its own, good for ten years.
    pub(crate) fn new(name: &str) -> Self {
        Self::valid(name, -1, 3650)
    }

    /// A root that is good from and until so many days from now.
    pub(crate) fn valid(name: &str, from: i64, until: i64) -> Self {
        let key = KeyType::P256.generate();
        let mut builder = started(name, (from, until), &key);
        be_authority(&mut builder, None);
        builder.sign(&key, MessageDigest::sha256()).expect("a key that signs");
        Self(Pair { certificate: builder.build(), key, intermediates: Vec::new() })
    }

    /// An authority below this one. What it issues carries its certificate along.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyType::P256.generate();
        let mut builder = started(name, (-1, 3650), &key);
        be_authority(&mut builder, Some(self));
        Self(self.sign(builder, key))
    }

    /// Signs a certificate for a key that is made for it.
    pub(crate) fn issue(&self, leaf: Leaf) -> Pair {
        let key = leaf.key.generate();
        self.issue_for(leaf, key)
    }

    /// The same for a key that is there: a certificate that is renewed.
    #[expect(clippy::needless_pass_by_value, reason = "a leaf is written down where it is issued")]
    pub(crate) fn issue_for(&self, leaf: Leaf, key: PKey<Private>) -> Pair {
        let builder = leaf.begin(&key, Some(self));
        self.sign(builder, key)
    }

    /// The authority's own certificate, as a file has it.
    pub(crate) fn pem(&self) -> String {
        pem(&self.0.certificate)
    }

    /// The authority's own certificate and key.
    pub(crate) fn pair(&self) -> &Pair {
        &self.0
    }

    fn is_root(&self) -> bool {
        let Pair { certificate, .. } = &self.0;
        certificate.issuer_name().try_cmp(certificate.subject_name()).is_ok_and(std::cmp::Ordering::is_eq)
    }

    fn sign(&self, mut builder: X509Builder, key: PKey<Private>) -> Pair {
        builder.set_issuer_name(self.0.certificate.subject_name()).expect("a name");
        builder.sign(&self.0.key, MessageDigest::sha256()).expect("a key that signs");
        let own = (!self.is_root()).then(|| self.0.certificate.clone());
        let intermediates = own.into_iter().chain(self.0.intermediates.clone()).collect();
        Pair { certificate: builder.build(), key, intermediates }
    }
}

impl Pair {
    /// The certificate alone.
    pub(crate) fn pem(&self) -> String {
        pem(&self.certificate)
    }

    /// The certificate, and the ones between it and its root.
    pub(crate) fn chain_pem(&self) -> String {
        std::iter::once(&self.certificate).chain(&self.intermediates).map(pem).collect()
    }

    /// The key (PKCS #8).
    pub(crate) fn key_pem(&self) -> String {
        let pem = self.key.private_key_to_pem_pkcs8().expect("a key");
        String::from_utf8(pem).expect("PEM is ASCII")
    }

    /// The serial number, in upper-case hex.
    pub(crate) fn serial(&self) -> String {
        let number = self.certificate.serial_number().to_bn().expect("a number");
        number.to_hex_str().expect("a number").to_string()
    }

    /// SHA-256 over the certificate, in lower-case hex.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(self.certificate.digest(MessageDigest::sha256()).expect("a digest"))
    }
}

impl Leaf {
    /// A certificate of a server with this name, good for a month.
    pub(crate) fn server(name: &str) -> Self {
        Self::new(name).purpose(Purpose::Server).dns(name)
    }

    /// A certificate of a client that is called like that, good for a month.
    pub(crate) fn client(common_name: &str) -> Self {
        Self::new(common_name).purpose(Purpose::Client)
    }

    /// One that says nothing but its common name.
    pub(crate) fn new(common_name: &str) -> Self {
        let common_name = common_name.to_owned();
        Self { common_name, names: Vec::new(), days: (-1, 30), purpose: Purpose::Unsaid, key: KeyType::P256 }
    }

    /// One more DNS name (subject alternative name).
    pub(crate) fn dns(mut self, name: &str) -> Self {
        self.names.push(Name::Dns(name.to_owned()));
        self
    }

    /// One more IP address.
    pub(crate) fn ip(mut self, address: &str) -> Self {
        self.names.push(Name::Ip(address.to_owned()));
        self
    }

    /// One more URI, as SPIFFE has them.
    pub(crate) fn uri(mut self, uri: &str) -> Self {
        self.names.push(Name::Uri(uri.to_owned()));
        self
    }

    /// Good from and until so many days from now.
    pub(crate) fn valid(mut self, from: i64, until: i64) -> Self {
        self.days = (from, until);
        self
    }

    /// What it may be used for.
    pub(crate) fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// The kind of its key.
    pub(crate) fn key(mut self, key: KeyType) -> Self {
        self.key = key;
        self
    }

    /// Signs it with its own key.
    pub(crate) fn self_signed(self) -> Pair {
        let key = self.key.generate();
        let mut builder = self.begin(&key, None);
        let digest = if self.key == KeyType::Ed25519 { MessageDigest::null() } else { MessageDigest::sha256() };
        builder.sign(&key, digest).expect("a key that signs");
        Pair { certificate: builder.build(), key, intermediates: Vec::new() }
    }

    fn begin(&self, key: &PKey<Private>, issuer: Option<&Authority>) -> X509Builder {
        let mut builder = started(&self.common_name, self.days, key);
        builder.append_extension(BasicConstraints::new().critical().build().expect("an extension")).expect("taken");
        let usage = KeyUsage::new().critical().digital_signature().build().expect("an extension");
        builder.append_extension(usage).expect("taken");
        self.say_purpose(&mut builder);
        self.say_names(&mut builder, issuer);
        builder
    }

    fn say_purpose(&self, builder: &mut X509Builder) {
        let mut usage = ExtendedKeyUsage::new();
        let usage = match self.purpose {
            Purpose::Server => usage.server_auth(),
            Purpose::Client => usage.client_auth(),
            Purpose::Both => usage.server_auth().client_auth(),
            Purpose::CodeSigning => usage.code_signing(),
            Purpose::Unsaid => return,
        };
        builder.append_extension(usage.build().expect("an extension")).expect("taken");
    }

    fn say_names(&self, builder: &mut X509Builder, issuer: Option<&Authority>) {
        if self.names.is_empty() {
            return;
        }
        let mut extension = SubjectAlternativeName::new();
        for name in &self.names {
            match name {
                Name::Dns(name) => extension.dns(name),
                Name::Ip(address) => extension.ip(address),
                Name::Uri(uri) => extension.uri(uri),
            };
        }
        let issuer = issuer.map(|issuer| &*issuer.0.certificate);
        let extension = extension.build(&builder.x509v3_context(issuer, None)).expect("names that can be written");
        builder.append_extension(extension).expect("taken");
    }
}

impl KeyType {
    fn generate(self) -> PKey<Private> {
        let curve = |nid| {
            let group = EcGroup::from_curve_name(nid).expect("a known curve");
            PKey::from_ec_key(EcKey::generate(&group).expect("a key"))
        };
        let key = match self {
            Self::P256 => curve(Nid::X9_62_PRIME256V1),
            Self::P384 => curve(Nid::SECP384R1),
            Self::Rsa2048 => PKey::from_rsa(Rsa::generate(2048).expect("a key")),
            Self::Rsa1024 => PKey::from_rsa(Rsa::generate(1024).expect("a key")),
            Self::Ed25519 => PKey::generate_ed25519(),
        };
        key.expect("a key")
    }
}

/// Version, serial number, subject, dates and key; the issuer is the subject until somebody else signs it.
fn started(common_name: &str, (from, until): (i64, i64), key: &PKey<Private>) -> X509Builder {
    let mut builder = X509::builder().expect("a builder");
    let name = named(common_name);
    builder.set_version(2).expect("X.509 version 3");
    builder.set_serial_number(&serial()).expect("a number");
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(&name).expect("a name");
    builder.set_not_before(&days_from_now(from)).expect("a time");
    builder.set_not_after(&days_from_now(until)).expect("a time");
    builder.set_pubkey(key).expect("a key");
    builder
}

fn be_authority(builder: &mut X509Builder, issuer: Option<&Authority>) {
    let mut constraints = BasicConstraints::new();
    builder.append_extension(constraints.critical().ca().build().expect("an extension")).expect("taken");
    let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().expect("an extension");
    builder.append_extension(usage).expect("taken");
    let issuer = issuer.map(|issuer| &*issuer.0.certificate);
    let own = SubjectKeyIdentifier::new().build(&builder.x509v3_context(issuer, None)).expect("an extension");
    builder.append_extension(own).expect("taken");
    if issuer.is_some() {
        let theirs = AuthorityKeyIdentifier::new().keyid(true).build(&builder.x509v3_context(issuer, None));
        builder.append_extension(theirs.expect("an extension")).expect("taken");
    }
}

fn named(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().expect("a builder");
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).expect("a common name");
    name.build()
}

fn serial() -> Asn1Integer {
    let mut number = BigNum::new().expect("a number");
    number.rand(127, MsbOption::ONE, false).expect("a random number");
    number.to_asn1_integer().expect("a number")
}

fn days_from_now(days: i64) -> Asn1Time {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let seconds = i64::try_from(now.as_secs()).expect("a time of these days") + days * DAY.as_secs().cast_signed();
    Asn1Time::from_unix(seconds).expect("a time")
}

fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().expect("a certificate")).expect("PEM is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_leads_to_its_root() {
        let root = Authority::new("root");
        let leaf = root.intermediate("middle").issue(Leaf::server("a.example.com").ip("::1"));
        let [middle] = &leaf.intermediates[..] else { panic!("one certificate stands between") };
        assert!(leaf.certificate.verify(&middle.public_key().expect("a key")).expect("a signature"));
        assert!(middle.verify(&root.pair().key).expect("a signature"));
        assert_eq!(leaf.chain_pem().matches("BEGIN CERTIFICATE").count(), 2);
        let names = leaf.certificate.subject_alt_names().expect("names");
        assert_eq!(names.iter().filter_map(|name| name.dnsname()).collect::<Vec<_>>(), ["a.example.com"]);
    }
}
