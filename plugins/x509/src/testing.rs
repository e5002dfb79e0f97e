//! Certificates and CRLs made by hand, with every mistake that somebody could make.
//!
//! ```
//! use portcullis_plugin::UnixTime;
//! use portcullis_x509::{CrlPolicy, Trust, testing::{Ca, NOW}};
//!
//! let root = Ca::root("Root");
//! let alice = root.client("alice", |sketch| sketch.dns(&["alice.example.com"]));
//! let crl = root.crl(&[], |_| {});
//! let trust = Trust::new(vec![root.certificate.clone()], vec![crl], CrlPolicy::Required, 1).unwrap();
//! assert!(trust.verify(&alice.certificate, &[], NOW).is_ok());
//! ```

#![allow(clippy::unwrap_used, reason = "what makes certificates for tests stops at the first surprise, as they do")]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use openssl::{
    asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time, Asn1Type},
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    sign::Signer,
    x509::{
        X509, X509Builder, X509Extension, X509Name, X509NameRef,
        extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName},
    },
};
use portcullis_plugin::UnixTime;
use x509_parser::time::ASN1Time;

use crate::Crl;

/// A moment at which what is made here holds, unless it is made otherwise. The system's clock is another.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// Before the system's clock and [`NOW`].
pub const BEFORE: i64 = 1_700_000_000;

/// After the system's clock and [`NOW`].
pub const AFTER: i64 = 1_900_000_000;

/// A certificate and its key. Those of a CA make more.
#[derive(Clone)]
pub struct Ca {
    /// The certificate.
    pub certificate: X509,
    /// Its private key.
    pub key: PKey<Private>,
}

/// The content of a certificate to be made.
pub struct Sketch {
    /// The subject: short names of types, and values.
    pub subject: Vec<(&'static str, String, Asn1Type)>,
    /// From when on it holds.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// Its serial number, where it is not the next one.
    pub serial: Option<Vec<u8>>,
    /// 2 is version 3, 0 is version 1.
    pub version: i32,
    /// It may make certificates; `None`: it does not say.
    pub ca: Option<bool>,
    /// The most CAs that may stand below it.
    pub path_length: Option<u32>,
    /// The purposes that it was made for: `clientAuth`, `serverAuth`; empty: it does not say.
    pub purposes: Vec<&'static str>,
    /// Alternative names, each with its kind: `dns`, `uri`, `email`, `ip`.
    pub names: Vec<(&'static str, String)>,
    /// More extensions: number, whether it is critical, encoding.
    pub raw: Vec<(&'static str, bool, Vec<u8>)>,
    /// The digest that is signed.
    pub digest: MessageDigest,
}

impl Sketch {
    fn new(cn: &str) -> Self {
        Self {
            subject: vec![("CN", cn.to_owned(), Asn1Type::UTF8STRING)],
            not_before: BEFORE,
            not_after: AFTER,
            serial: None,
            version: 2,
            ca: None,
            path_length: None,
            purposes: Vec::new(),
            names: Vec::new(),
            raw: Vec::new(),
            digest: MessageDigest::sha256(),
        }
    }

    /// Adds host names.
    pub fn dns(&mut self, names: &[&str]) {
        self.names.extend(names.iter().map(|name| ("dns", (*name).to_owned())));
    }

    /// Adds URIs.
    pub fn uris(&mut self, names: &[&str]) {
        self.names.extend(names.iter().map(|name| ("uri", (*name).to_owned())));
    }

    /// Adds e-mail addresses.
    pub fn emails(&mut self, names: &[&str]) {
        self.names.extend(names.iter().map(|name| ("email", (*name).to_owned())));
    }

    /// Adds a part to the subject.
    pub fn part(&mut self, kind: &'static str, value: &str) {
        self.subject.push((kind, value.to_owned(), Asn1Type::UTF8STRING));
    }

    fn sign(&self, key: &PKey<Private>, issuer: Option<(&X509NameRef, &PKey<Private>)>) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_version(self.version).unwrap();
        let serial = self.serial.clone().unwrap_or_else(next_serial);
        let serial = Asn1Integer::from_bn(&BigNum::from_slice(&serial).unwrap()).unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(self.not_before).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(self.not_after).unwrap()).unwrap();
        builder.set_pubkey(key).unwrap();
        let subject = name(&self.subject);
        builder.set_subject_name(&subject).unwrap();
        let (issuer, signer) = issuer.unwrap_or((&subject, key));
        builder.set_issuer_name(issuer).unwrap();
        self.extend(&mut builder);
        builder.sign(signer, self.digest).unwrap();
        builder.build()
    }

    fn extend(&self, builder: &mut X509Builder) {
        if let Some(ca) = self.ca {
            let mut constraints = BasicConstraints::new();
            constraints.critical();
            if ca {
                constraints.ca();
                let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
                builder.append_extension(usage).unwrap();
            }
            if let Some(length) = self.path_length {
                constraints.pathlen(length);
            }
            builder.append_extension(constraints.build().unwrap()).unwrap();
        }
        if !self.purposes.is_empty() {
            let mut usage = ExtendedKeyUsage::new();
            for purpose in &self.purposes {
                usage.other(purpose);
            }
            builder.append_extension(usage.build().unwrap()).unwrap();
        }
        if !self.names.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for (kind, name) in &self.names {
                match *kind {
                    "dns" => names.dns(name),
                    "uri" => names.uri(name),
                    "email" => names.email(name),
                    _ => names.ip(name),
                };
            }
            let names = names.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        for (oid, critical, der) in &self.raw {
            builder.append_extension(raw(oid, *critical, der)).unwrap();
        }
    }
}

/// The content of a CRL to be made.
pub struct CrlSketch {
    /// From when on it holds.
    pub this_update: i64,
    /// Until when, if it says so.
    pub next_update: Option<i64>,
    /// Extensions of every entry: number, whether it is critical, encoding.
    pub entry: Vec<(&'static str, bool, Vec<u8>)>,
    /// More extensions: number, whether it is critical, encoding.
    pub raw: Vec<(&'static str, bool, Vec<u8>)>,
    /// Signed by this key and not by the CA's.
    pub key: Option<PKey<Private>>,
}

impl Ca {
    /// A CA that signed itself.
    pub fn root(cn: &str) -> Self {
        Self::root_with(cn, |_| {})
    }

    /// A CA that signed itself, changed.
    pub fn root_with(cn: &str, change: impl FnOnce(&mut Sketch)) -> Self {
        let mut sketch = Sketch::new(cn);
        sketch.ca = Some(true);
        change(&mut sketch);
        let key = new_key();
        Self { certificate: sketch.sign(&key, None), key }
    }

    /// A CA below this one.
    pub fn below(&self, cn: &str, change: impl FnOnce(&mut Sketch)) -> Self {
        self.issue(cn, |sketch| {
            sketch.ca = Some(true);
            change(sketch);
        })
    }

    /// A client's certificate.
    pub fn client(&self, cn: &str, change: impl FnOnce(&mut Sketch)) -> Self {
        self.issue(cn, |sketch| {
            sketch.purposes = vec!["clientAuth"];
            change(sketch);
        })
    }

    /// A certificate that says no more than `change` makes it say.
    pub fn issue(&self, cn: &str, change: impl FnOnce(&mut Sketch)) -> Self {
        let mut sketch = Sketch::new(cn);
        change(&mut sketch);
        let key = new_key();
        let certificate = sketch.sign(&key, Some((self.certificate.subject_name(), &self.key)));
        Self { certificate, key }
    }

    /// A CRL with these certificates on it, in PEM.
    pub fn crl_pem(&self, revoked: &[&X509], change: impl FnOnce(&mut CrlSketch)) -> Vec<u8> {
        let mut sketch =
            CrlSketch { this_update: BEFORE, next_update: Some(AFTER), entry: Vec::new(), raw: Vec::new(), key: None };
        change(&mut sketch);
        let entries = revoked.iter().map(|certificate| {
            let serial = certificate.serial_number().to_bn().unwrap().to_vec();
            let extensions = extensions(&sketch.entry);
            let extensions = if sketch.entry.is_empty() { Vec::new() } else { extensions };
            der(0x30, &[&der(0x02, &[&serial]), &utc_time(sketch.this_update), &extensions])
        });
        let entries = der(0x30, &[&entries.collect::<Vec<_>>().concat()]);
        let algorithm = der(0x30, &[&oid("1.2.840.10045.4.3.2")]);
        let number = ("2.5.29.20", false, vec![0x02, 1, 7]);
        let own = extensions(&[vec![number], sketch.raw].concat());
        let list = der(
            0x30,
            &[
                &[0x02, 1, 1],
                &algorithm,
                &self.certificate.subject_name().to_der().unwrap(),
                &utc_time(sketch.this_update),
                &sketch.next_update.map(utc_time).unwrap_or_default(),
                if revoked.is_empty() { &[] } else { &entries },
                &der(0xA0, &[&own]),
            ],
        );
        let mut signer = Signer::new(MessageDigest::sha256(), sketch.key.as_ref().unwrap_or(&self.key)).unwrap();
        let signature = signer.sign_oneshot_to_vec(&list).unwrap();
        let whole = der(0x30, &[&list, &algorithm, &der(0x03, &[&[0], &signature])]);
        pem::encode(&pem::Pem::new("X509 CRL", whole)).into_bytes()
    }

    /// A CRL with these certificates on it.
    pub fn crl(&self, revoked: &[&X509], change: impl FnOnce(&mut CrlSketch)) -> Crl {
        Crl::parse(&self.crl_pem(revoked, change)).unwrap().remove(0)
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }
}

/// A new key; they are of elliptic curves, which are quick to make.
pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn next_serial() -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0x1000);
    NEXT.fetch_add(1, Relaxed).to_be_bytes().to_vec()
}

fn name(parts: &[(&str, String, Asn1Type)]) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    for (kind, value, of) in parts {
        name.append_entry_by_text_with_type(kind, value, *of).unwrap();
    }
    name.build()
}

/// An ASN.1 value in DER.
pub fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let mut der = vec![tag];
    match content.len() {
        short @ 0..0x80 => der.push(u8::try_from(short).unwrap()),
        _ => {
            der.push(0x80 | u8::try_from(4 - zeros).unwrap());
            der.extend(&length[zeros..]);
        }
    }
    der.extend(content);
    der
}

fn oid(numbers: &str) -> Vec<u8> {
    der(0x06, &[Asn1Object::from_str(numbers).unwrap().as_slice()])
}

fn utc_time(seconds: i64) -> Vec<u8> {
    let at = ASN1Time::from_timestamp(seconds).unwrap().to_datetime();
    let (year, month) = (at.year() % 100, u8::from(at.month()));
    let text = format!("{year:02}{month:02}{:02}{:02}{:02}{:02}Z", at.day(), at.hour(), at.minute(), at.second());
    der(0x17, &[text.as_bytes()])
}

fn extensions(of: &[(&'static str, bool, Vec<u8>)]) -> Vec<u8> {
    let extension = |(number, critical, content): &(&str, bool, Vec<u8>)| {
        let critical: &[u8] = if *critical { &[0x01, 1, 0xFF] } else { &[] };
        der(0x30, &[&oid(number), critical, &der(0x04, &[content])])
    };
    der(0x30, &[&of.iter().map(extension).collect::<Vec<_>>().concat()])
}

fn raw(oid: &str, critical: bool, der: &[u8]) -> X509Extension {
    let content = Asn1OctetString::new_from_bytes(der).unwrap();
    X509Extension::new_from_der(&Asn1Object::from_str(oid).unwrap(), critical, &content).unwrap()
}
