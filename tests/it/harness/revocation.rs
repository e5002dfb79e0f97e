//! What an authority says of its certificates after it has signed them: CRLs and OCSP responses, by the `openssl` command.

use std::{fs, path::Path, process::Command};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{Authority, Pair};

/// Long enough for any test, short enough for any gateway.
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The directory that `openssl ca` and `openssl ocsp` keep of an authority.
struct Database(TempDir);

impl Database {
    fn new(authority: &Authority, revoked: &[&Pair], good: &[&Pair], crl_extension: &str) -> Self {
        let database = Self(TempDir::new().expect("a temporary directory"));
        let line = |pair: &&Pair, what: &str| format!("{what}\t{}\tunknown\t/CN=x\n", pair.serial());
        let revoked = revoked.iter().map(|pair| line(pair, "R\t491231235959Z\t260101000000Z"));
        let index: String = revoked.chain(good.iter().map(|pair| line(pair, "V\t491231235959Z\t"))).collect();
        database.write("index.txt", &index);
        database.write("number", "01\n");
        database.write("ca.pem", &authority.pem());
        database.write("ca.key", &authority.pair().key_pem());
        let configuration = format!(
            "[ca]\ndefault_ca = ours\n[ours]\ndatabase = index.txt\ncrlnumber = number\ndefault_md = sha256\n\
             crl_extensions = extensions\n[extensions]\nauthorityKeyIdentifier = keyid:always\n{crl_extension}\n"
        );
        database.write("ca.conf", &configuration);
        database
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.0.path().join(name), contents).expect("a file in our own directory");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).expect("openssl has written it")
    }

    fn openssl(&self, arguments: &[&str]) {
        openssl(self.0.path(), arguments);
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("openssl: {error}; `.ci/test` brings it"));
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CRL that is being put together.
pub(crate) struct Crl<'a> {
    authority: &'a Authority,
    revoked: Vec<&'a Pair>,
    /// From and until, in seconds from now.
    seconds: (i64, i64),
    extension: &'a str,
}

impl<'a> Crl<'a> {
    /// One that revokes nothing, an hour old and good for a day.
    pub(crate) fn of(authority: &'a Authority) -> Self {
        Self { authority, revoked: Vec::new(), seconds: (-3600, DAY_SECONDS), extension: "" }
    }

    /// Revokes one more certificate.
    pub(crate) fn revoke(mut self, pair: &'a Pair) -> Self {
        self.revoked.push(pair);
        self
    }

    /// Says that it is good from and until so many seconds from now.
    pub(crate) fn valid_seconds(mut self, from: i64, until: i64) -> Self {
        self.seconds = (from, until);
        self
    }

    /// Adds an extension, as a configuration of OpenSSL says it.
    pub(crate) fn extension(mut self, line: &'a str) -> Self {
        self.extension = line;
        self
    }

    /// PEM.
    pub(crate) fn pem(&self) -> String {
        let database = Database::new(self.authority, &self.revoked, &[], self.extension);
        let ((from, until), files) = (self.seconds, ["-cert", "ca.pem", "-keyfile", "ca.key", "-out", "crl.pem"]);
        let (from, until) = (time(from), time(until));
        let times = ["-crl_lastupdate", from.as_str(), "-crl_nextupdate", until.as_str()];
        database.openssl(&[&["ca", "-gencrl", "-config", "ca.conf"], &files[..], &times].concat());
        String::from_utf8(database.read("crl.pem")).expect("PEM is ASCII")
    }

    /// DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        let pem = self.pem();
        let contents: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        openssl::base64::decode_block(&contents).expect("base64")
    }
}

/// So many seconds from now, as `openssl ca` wants it.
fn time(seconds: i64) -> String {
    let time = Timestamp::now().as_second() + seconds;
    Timestamp::from_second(time).expect("a time of these days").strftime("%Y%m%d%H%M%SZ").to_string()
}

/// What the authority answers when it is asked for this certificate (RFC 6960), signed by itself, good for an hour: DER.
pub(crate) fn ocsp(authority: &Authority, pair: &Pair, is_revoked: bool) -> Vec<u8> {
    let (revoked, good): (&[&Pair], &[&Pair]) = if is_revoked { (&[pair], &[]) } else { (&[], &[pair]) };
    let database = Database::new(authority, revoked, good, "");
    database.write("leaf.pem", &pair.pem());
    database.openssl(&["ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "request", "-no_nonce"]);
    let signer = ["-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-nmin", "60"];
    let answer = ["-index", "index.txt", "-reqin", "request", "-respout", "response"];
    database.openssl(&[&["ocsp"], &signer[..], &answer].concat());
    database.read("response")
}
