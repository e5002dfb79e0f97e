use super::*;
use crate::{Facts, testing::Ca};

#[test]
fn a_written_name_becomes_the_form_of_certificates() {
    let same = [
        ("CN=alice", "CN=alice"),
        ("cn=alice , o=ACME", "CN=alice,O=ACME"),
        ("cn = alice", "CN=alice"),
        ("CN=alice, OU=Sales, O=ACME, C=DE", "CN=alice,OU=Sales,O=ACME,C=DE"),
        ("CN=alice, DC=example, DC=org", "CN=alice,DC=example,DC=org"),
        ("O=ACME,CN=alice", "O=ACME,CN=alice"),
        ("CN=alice,O=ACME\\, Inc.", "CN=alice,O=ACME\\, Inc."),
        ("CN=alice,O=ACME\\2C Inc.", "CN=alice,O=ACME\\, Inc."),
        ("CN=Jörg", "CN=J\\C3\\B6rg"),
        ("CN=J\\c3\\b6rg", "CN=J\\C3\\B6rg"),
        ("CN=a+OU=b, C=DE", "CN=a+OU=b,C=DE"),
        ("E=a@example.com", "emailAddress=a@example.com"),
        ("CN=\\ a\\ ", "CN=\\ a\\ "),
        ("CN=\\#a#", "CN=\\#a#"),
        ("2.5.4.3=alice", "CN=alice"),
        ("1.2.3.4.5=#0c0161", "1.2.3.4.5=#0C0161"),
        ("CN=", "CN="),
    ];
    for (written, canonical) in same {
        assert_eq!(canonical_dn(written).as_deref(), Ok(canonical), "{written}");
        assert_eq!(canonical_dn(canonical).as_deref(), Ok(canonical), "{canonical}");
    }
}

#[test]
fn a_malformed_name_is_refused_with_the_reason() {
    let odd = [
        "",
        "alice",
        "CN=a,",
        "=a",
        "CN=a\\",
        "CN=a\\z",
        "CN=\"a\"",
        "CN=a;O=b",
        "NOSUCH=a",
        "CN=\\00",
        "CN=#0",
        "CN=#",
        "CN=#0C01 x",
        "CN=\\FF",
        "CN=a\nb",
    ];
    for odd in odd {
        assert!(canonical_dn(odd).is_err(), "{odd:?}");
    }
    assert!(canonical_dn(&format!("CN={}", "a".repeat(NAME_MAX_BYTES))).is_err());
}

#[test]
fn the_default_output_of_openssl_is_not_taken_for_another_name() {
    for (written, why) in [
        ("O = ACME, CN = fpc", "spaces around `=`"),
        ("CN = fpc, O = ACME", "spaces around `=`"),
        ("CN = a + OU = b", "spaces around `=`"),
        ("O=ACME, CN=fpc", "the other order"),
        ("C=DE, O=ACME", "the other order"),
        ("DC=org, DC=example, CN=fpc", "the other order"),
    ] {
        let said = canonical_dn(written).unwrap_err().to_string();
        assert!(said.contains(why) && said.contains("-nameopt RFC2253"), "{written}: {said}");
    }
}

#[test]
fn openssls_own_form_of_a_certificates_subject_is_refused() {
    let leaf = Ca::root("Root").client("fpc", |sketch| {
        sketch.subject.insert(0, ("O", "ACME".to_owned(), openssl::asn1::Asn1Type::UTF8STRING));
    });
    let file = std::env::temp_dir().join(format!("portcullis-x509-own-{}.pem", std::process::id()));
    std::fs::write(&file, leaf.pem()).unwrap();
    let openssl = std::process::Command::new("openssl").args(["x509", "-noout", "-subject", "-in"]).arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(openssl.unwrap().stdout).unwrap();
    let printed = text.trim().strip_prefix("subject=").unwrap();
    assert!(canonical_dn(printed).is_err(), "{printed}");
}

#[test]
fn a_certificates_subject_is_canonical() {
    let values = ["alice", "ACME, Inc.", " a ", "#1", "a\\b", "\"q\"", "a+b=c;<d>", "Jörg", "名"];
    for value in values {
        let leaf = Ca::root("Root").client(value, |sketch| {
            sketch.part("emailAddress", "a@example.com");
            sketch.part("O", value);
        });
        let subject = Facts::of(&leaf.certificate).unwrap().subject;
        assert_eq!(canonical_dn(&subject), Ok(subject.clone()), "{value}");
    }
}

#[test]
fn openssl_writes_names_the_same_way() {
    let leaf = Ca::root("Root").client("a, \"b\" + Jörg=#;<>\\ ", |sketch| {
        for (kind, value) in [("O", "#x"), ("emailAddress", "a@example.com"), ("DC", "example"), ("serialNumber", "7")]
        {
            sketch.part(kind, value);
        }
    });
    let facts = Facts::of(&leaf.certificate).unwrap();
    let file = std::env::temp_dir().join(format!("portcullis-x509-{}.pem", std::process::id()));
    std::fs::write(&file, leaf.pem()).unwrap();
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-issuer", "-serial", "-nameopt", "RFC2253", "-in"])
        .arg(&file)
        .output();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(openssl.unwrap().stdout).unwrap();
    let ours = format!("subject={}\nissuer={}\nserial={}\n", facts.subject, facts.issuer, facts.serial);
    assert_eq!(text, ours);
}

#[test]
fn fuzz_a_canonical_name_is_its_own_canonical_form() {
    bolero::check!().with_iterations(10_000).with_type::<String>().for_each(|text| {
        for written in [text.clone(), format!("CN={text}"), format!("CN=a,O={text}+OU=#0C00")] {
            if let Ok(canonical) = canonical_dn(&written) {
                assert!(canonical.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                assert_eq!(canonical_dn(&canonical), Ok(canonical.clone()));
            }
        }
    });
}
