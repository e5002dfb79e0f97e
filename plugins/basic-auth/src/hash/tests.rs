use std::time::Instant;

use super::*;

/// From the test suite of the reference implementation of Argon2.
const REFERENCE: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

/// From the tests of Go's golang.org/x/crypto/bcrypt.
const ALLMINE: &str = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";

/// By libxcrypt, of 71 and of 72 times `p`.
const P71: &str = "$2b$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO";
const P72: &str = "$2b$10$abcdefghijklmnopqrstuuc048Zt2PEMjQLjNO1o6jdlec9LQLDza";

fn fits(hash: &str, password: &str) -> bool {
    hash.parse::<PasswordHash>().unwrap().verify(password.as_bytes())
}

fn error(hash: &str) -> HashError {
    hash.parse::<PasswordHash>().unwrap_err()
}

/// An Argon2id hash with these parameters.
fn argon2id_with(parameters: &str) -> Result<PasswordHash, HashError> {
    format!("$argon2id$v=19${parameters}$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc").parse()
}

#[test]
fn hashes_that_others_made_fit() {
    assert!(fits(REFERENCE, "password"));
    assert!(!fits(REFERENCE, "Password"));
    assert!(fits(ALLMINE, "allmine"));
    assert!(!fits(ALLMINE, "allmine "));
    let snow = "abcdefghijklmnopqrstuubUS1uDbiGOxzmNsPV28j4Q4QEbnbGNy";
    assert!(fits(&format!("$2b$10${snow}"), "Pa\u{df}:w\u{f6}rd \u{2603}"));
    assert!(fits(&format!("$2y$10${snow}"), "Pa\u{df}:w\u{f6}rd \u{2603}"));
}

#[test]
fn bcrypt_cuts_nothing_off() {
    let p = |count| "p".repeat(count);
    assert!(fits(P71, &p(71)) && !fits(P71, &p(70)) && !fits(P71, &p(72)));
    assert!(fits(P72, &p(72)) && !fits(P72, &p(71)));
    assert!(!fits(P72, &p(73)), "whose first 72 bytes fit");
    assert!(!fits(P71, &format!("{}\0", p(71))));
    let refused = hash_password(Algorithm::Bcrypt, p(73).as_bytes()).unwrap_err();
    assert!(matches!(refused, HashingError::TooLong), "{refused}");
}

#[test]
fn new_hashes_fit_and_no_two_are_alike() {
    for (algorithm, start) in [(Algorithm::Argon2id, "$argon2id$v=19$m=19456,t=2,p=1$"), (Algorithm::Bcrypt, "$2b$12$")]
    {
        let hash = hash_password(algorithm, "correct horse".as_bytes()).unwrap();
        assert!(hash.starts_with(start), "{hash}");
        assert!(fits(&hash, "correct horse") && !fits(&hash, "correct hors"), "{hash}");
        assert_ne!(hash, hash_password(algorithm, "correct horse".as_bytes()).unwrap());
    }
    for password in [&b""[..], b"with\nnewline", b"nul\0", b"\xff", &[b'p'; PASSWORD_MAX_BYTES + 1]] {
        let refused = hash_password(Algorithm::Argon2id, password).unwrap_err();
        assert!(matches!(refused, HashingError::Unusable), "{refused}");
    }
}

#[test]
fn each_bad_hash_is_refused_for_its_own_reason() {
    use HashError::{Malformed, NotAHash, OtherKind, TooCostly, TooWeak};
    for (hash, expected) in [
        ("", NotAHash),
        ("hunter2", NotAHash),
        ("$", NotAHash),
        ("$argon2id", NotAHash),
        ("5f4dcc3b5aa765d61d8327deb882cf99", NotAHash),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", NotAHash),
        ("$1$etNnh7FA$OlM7eljE/B7F1J4XYNnk81", OtherKind),
        ("$apr1$10HDZ1CX$rJ2VtBxcUo3Jp8nJrKNQv0", OtherKind),
        ("$5$MnfsQ4iN$ZMTppKN16y/tIsUYs/obHlhdP.Os80yXhTurpBMUbA5", OtherKind),
        ("$6$saltsalt$x", OtherKind),
        ("$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", OtherKind),
        ("$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", OtherKind),
        ("$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", OtherKind),
        ("$pbkdf2-sha256$i=600000$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", OtherKind),
        ("$2x$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", OtherKind),
        ("$2$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", OtherKind),
        ("$2b$09$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", TooWeak),
        ("$2b$00$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", TooWeak),
        ("$2b$15$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", TooCostly),
        ("$2b$99$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", TooCostly),
        ("$2b$1$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", Malformed),
        ("$2b$+9$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", Malformed),
        ("$2b$010$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", Malformed),
        ("$2b$10$", Malformed),
        ("$2b$10", Malformed),
        ("$2b$", Malformed),
        ("$2b$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMS", Malformed),
        ("$2b$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO\n", Malformed),
        ("$2b$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOM=O", Malformed),
        ("$2b$10$abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCO\u{20ac}", Malformed),
        ("$2b$10$abcdefghijklmnopqrstuzF1dG86SRTeOmjpYnJRuVllc6fSCOMSO", Malformed),
        ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ", Malformed),
        ("$argon2id$v=19$m=65536,t=2,p=1", Malformed),
        ("$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", Malformed),
        ("$argon2id$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", Malformed),
        ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6M", TooWeak),
        ("$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", TooWeak),
        ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$x", Malformed),
        (
            "$argon2id$v=19$m=65536,t=2,p=1,keyid=Zm9v$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            Malformed,
        ),
    ] {
        assert_eq!(error(hash), expected, "{hash}");
    }
}

#[test]
fn the_cost_of_argon2id_has_a_least_and_a_most() {
    for parameters in ["m=47104,t=1,p=1", "m=19456,t=2,p=1", "m=12288,t=3,p=1", "m=9216,t=4,p=1", "m=7168,t=5,p=1"] {
        assert!(argon2id_with(parameters).is_ok(), "{parameters}");
    }
    for parameters in ["m=131072,t=8,p=16", "m=65536,t=3,p=4"] {
        assert!(argon2id_with(parameters).is_ok(), "{parameters}");
    }
    for parameters in ["m=47103,t=1,p=1", "m=19455,t=2,p=1", "m=12287,t=3,p=4", "m=7167,t=5,p=1", "m=4096,t=3,p=1"] {
        assert_eq!(argon2id_with(parameters).unwrap_err(), HashError::TooWeak, "{parameters}");
    }
    for parameters in ["m=131073,t=2,p=1", "m=131072,t=9,p=1", "m=4294967295,t=4294967295,p=1", "m=19456,t=2,p=17"] {
        assert_eq!(argon2id_with(parameters).unwrap_err(), HashError::TooCostly, "{parameters}");
    }
    for parameters in ["m=4294967296,t=2,p=1", "m=19456,t=0,p=1", "m=19456,t=2,p=0", "m=-1,t=2,p=1", "m=x,t=2,p=1", ""]
    {
        assert_eq!(argon2id_with(parameters).unwrap_err(), HashError::Malformed, "{parameters}");
    }
}

#[test]
fn a_decoy_costs_the_same_and_nothing_fits_it() {
    let cost = |hash: &PasswordHash| match &hash.work {
        Work::Argon2id { params, salt, expected } => format!("{params:?} {} {}", salt.len(), expected.len()),
        Work::Bcrypt { cost, .. } => cost.to_string(),
    };
    for (hash, password) in [(REFERENCE, "password"), (ALLMINE, "allmine")] {
        let hash: PasswordHash = hash.parse().unwrap();
        let decoy = hash.decoy(&[7; 32]);
        assert_eq!(cost(&decoy), cost(&hash));
        assert!(!decoy.verify(password.as_bytes()));
        assert_ne!(decoy.fingerprint(), hash.fingerprint());
    }
}

#[test]
fn debug_prints_no_hash() {
    let hash: PasswordHash = ALLMINE.parse().unwrap();
    assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
}

/// Pieces from which random choices make strings that come close to hashes.
const PIECES: [&str; 18] = [
    "$",
    "2b",
    "10",
    "12",
    "argon2id",
    "v=19",
    "m=19456",
    "t=2",
    "p=1",
    ",",
    "=",
    "c29tZXNhbHQ",
    "\u{e9}",
    "keyid=",
    "data=",
    "abcdefghijklmnopqrstuuF1dG86SRTeOmjpYnJRuVllc6fSCOMSO",
    "4294967295",
    "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
];

#[test]
fn no_text_panics_and_what_is_taken_costs_what_it_may() {
    let start = Instant::now();
    bolero::check!().with_type::<(Vec<u8>, String)>().for_each(|(choices, text)| {
        let near: String = choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect();
        for text in [text.as_str(), &near, &format!("$2b${text}"), &format!("$argon2id$v=19${near}")] {
            let Ok(hash) = text.parse::<PasswordHash>() else { continue };
            match hash.work {
                Work::Argon2id { params, .. } => assert!(params.m_cost() <= ARGON2_MEMORY_MAX_KIB),
                Work::Bcrypt { cost, .. } => assert!((BCRYPT_COST_MIN..=BCRYPT_COST_MAX).contains(&cost)),
            }
        }
    });
    assert!(start.elapsed().as_secs() < 300, "parsing computes no hash");
}
