use super::*;

fn read<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned())
}

fn written<T: TryFrom<String, Error = String> + ToString>(text: &str) -> Option<String> {
    read::<T>(text).ok().map(|name| name.to_string())
}

#[test]
fn names_become_what_certificates_say() {
    assert_eq!(written::<Dn>("cn=a, o=B").as_deref(), Some("CN=a,O=B"));
    assert_eq!(written::<DnsPattern>("API.Example.com").as_deref(), Some("api.example.com"));
    assert_eq!(written::<Email>("Alice@Example.COM").as_deref(), Some("Alice@example.com"));
    assert_eq!(written::<Serial>("00:0a:Ff").as_deref(), Some("0AFF"));
    assert_eq!(written::<Serial>("0").as_deref(), Some("00"));
    let print = "AB:".repeat(31) + "CD";
    for label in ["", "sha256 Fingerprint=", "SHA256 Fingerprint="] {
        assert_eq!(written::<Fingerprint>(&format!("{label}{print}")), Some("ab".repeat(31) + "cd"), "{label}");
    }
}

#[test]
fn a_name_that_would_fit_more_than_it_says_is_refused() {
    for odd in ["", "*", "*.", "a.*.b", "a*.example.com", "*.*.com", "a b", "a..b", ".a", "a.", "ä.example"] {
        assert_eq!(written::<DnsPattern>(odd), None, "{odd}");
    }
    for odd in ["", "*", "adm*", "*.", "a*b"] {
        assert_eq!(written::<CnPattern>(odd), None, "{odd}");
    }
    for odd in ["", "alice", "a b:c", ":x", "x:", "a:\u{e9}", "spiffe://example.org/*", "a:b*c"] {
        assert_eq!(written::<Uri>(odd), None, "{odd}");
    }
    for odd in ["", "a", "@b", "a@", "a b@c", "a@*.example.com"] {
        assert_eq!(written::<Email>(odd), None, "{odd}");
    }
    assert_eq!(written::<Fingerprint>(&"ab".repeat(20)), None);
    assert_eq!(written::<Fingerprint>(&"zz".repeat(32)), None);
    for label in
        ["sha1 Fingerprint=", "sha512 Fingerprint=", "Fingerprint=", "=", "sha256 Fingerprint=sha256 Fingerprint="]
    {
        assert_eq!(written::<Fingerprint>(&(label.to_owned() + &"ab".repeat(32))), None, "{label}");
    }
    assert_eq!(written::<Serial>("0x1"), None);
    assert_eq!(written::<Serial>(""), None);
    for odd in ["", "Example.org", "spiffe://example.org", "a/b", "*"] {
        assert_eq!(written::<TrustDomain>(odd), None, "{odd}");
    }
    for odd in ["", "ns", "/", "/ns/", "/ns//a", "/ns/../a", "/ns/*/a", "/n%73", "*"] {
        assert_eq!(written::<SpiffePath>(odd), None, "{odd}");
    }
}

#[test]
fn a_wildcard_is_one_label() {
    let wild = read::<DnsPattern>("*.example.com").unwrap();
    assert!(wild.fits("a.example.com"));
    let cn = read::<CnPattern>("*.example.com").unwrap();
    let others = [
        "example.com",
        ".example.com",
        "a.b.example.com",
        "aexample.com",
        "*.example.com",
        "a.example.com.evil",
        "root@evil/.example.com",
        "a b.example.com",
        "a,o=b.example.com",
        "\u{202e}a.example.com",
    ];
    for other in others {
        assert!(!wild.fits(other) && !cn.fits(other), "{other}");
    }
    assert!(cn.fits("A.example.com"));
    let cn = read::<CnPattern>("Alice").unwrap();
    assert!(cn.fits("Alice") && !cn.fits("alice") && !cn.fits("Alice ") && !cn.fits("AliceX"));
}

#[test]
fn spiffe_ids_have_one_spelling() {
    let domains = [read::<TrustDomain>("example.org").unwrap()];
    let paths = ["/ns/prod/*", "/web"].map(|path| read::<SpiffePath>(path).unwrap());
    let good = ["spiffe://example.org/ns/prod/sa/a", "spiffe://example.org/web"];
    for uri in good {
        assert!(is_spiffe(uri, &domains, Some(&paths)), "{uri}");
    }
    let bad = [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/ns/prod",
        "spiffe://example.org/ns/prod/",
        "spiffe://example.org/ns/prodigy/a",
        "spiffe://example.org/ns/prod/../dev",
        "spiffe://example.org/ns/prod/%2e%2e/dev",
        "spiffe://example.org/web?x",
        "spiffe://example.org/web#x",
        "spiffe://example.org:443/web",
        "spiffe://u@example.org/web",
        "spiffe://EXAMPLE.org/web",
        "SPIFFE://example.org/web",
        "spiffe://example.org.evil/web",
        "https://example.org/web",
        "spiffe:///web",
    ];
    for uri in bad {
        assert!(!is_spiffe(uri, &domains, Some(&paths)), "{uri}");
    }
    assert!(is_spiffe("spiffe://example.org/anything", &domains, None));
    assert!(!is_spiffe("spiffe://example.org", &domains, None), "a trust domain is nobody who calls");
}

#[test]
fn fuzz_no_text_is_a_panic_and_every_name_is_its_own_form() {
    bolero::check!().with_iterations(10_000).with_type::<String>().for_each(|text| {
        fn check<T: TryFrom<String, Error = String> + ToString>(text: &str) {
            if let Some(once) = written::<T>(text) {
                assert_eq!(written::<T>(&once), Some(once.clone()));
            }
        }
        check::<Dn>(text);
        check::<CnPattern>(text);
        check::<DnsPattern>(text);
        check::<Uri>(text);
        check::<Email>(text);
        check::<Fingerprint>(text);
        check::<Serial>(text);
        check::<TrustDomain>(text);
        check::<SpiffePath>(text);
        is_spiffe(text, &[], None);
    });
}
