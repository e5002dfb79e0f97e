use super::*;

fn name(host: &str) -> Arc<Name> {
    names().of(&HostPort { host: host.to_owned(), port: 80 })
}

fn names() -> Names {
    Names::new(Output::start(std::io::sink()).expect("a thread"))
}

fn found(addresses: &[&str]) -> Found {
    let addresses = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
    Found { addresses, ttl: Duration::from_secs(5), unknown: None }
}

fn take(names: &Names, name: &Name, found: Found) {
    let verdict = name.judge(found, &["127.0.0.9:80".parse().expect("an address")]);
    names.take(name, verdict);
}

#[test]
fn a_name_is_known_as_long_as_somebody_has_it() {
    let names = names();
    let of = HostPort { host: "a.example".to_owned(), port: 80 };
    let first = names.of(&of);
    assert!(Arc::ptr_eq(&first, &names.of(&of)));
    assert!(!Arc::ptr_eq(&first, &names.of(&HostPort { port: 81, ..of.clone() })));
    let gone = Arc::downgrade(&first);
    drop(first);
    assert!(gone.upgrade().is_none());
    assert!(names.of(&of).addresses.is_empty());
}

#[test]
fn localhost_is_known_at_once() {
    assert_eq!(shown(&name("app.localhost").addresses), "127.0.0.1:80, [::1]:80");
    assert!(name("localhost.example").addresses.is_empty());
}

#[test]
fn one_that_fails_keeps_its_addresses() {
    let (names, name) = (names(), name("a.example"));
    take(&names, &name, found(&["127.0.0.1", "127.0.0.2"]));
    names.take(&name, Verdict::failed("no answer".to_owned()));
    assert_eq!(shown(&name.addresses), "127.0.0.1:80, 127.0.0.2:80");
    let last = name.last();
    assert_eq!((last.failure.as_deref(), last.resolved.is_some()), (Some("no answer"), true));
    take(&names, &name, found(&["127.0.0.3"]));
    assert_eq!((shown(&name.addresses).as_str(), name.last().failure.is_none()), ("127.0.0.3:80", true));
}

#[test]
fn forbidden_addresses_are_left_out_and_never_all_there_is() {
    let (names, name) = (names(), name("a.example"));
    take(&names, &name, found(&["127.0.0.9", "127.0.0.1", "169.254.169.254"]));
    assert_eq!(shown(&name.addresses), "127.0.0.1:80");
    assert_eq!((name.last().refused.len(), name.last().is_refused), (2, false));
    take(&names, &name, found(&["169.254.169.254"]));
    assert_eq!(shown(&name.addresses), "127.0.0.1:80", "an answer of nothing but these is no answer");
    let why = "resolves only to 169.254.169.254, a link-local address, as the metadata services of clouds have; such \
               addresses are refused";
    assert_eq!((name.last().failure.as_deref(), name.last().is_refused), (Some(why), true));
    // A look-up without an answer does not take back a refusal, so that the same one is not logged again.
    names.take(&name, Verdict::failed("no answer".to_owned()));
    assert_eq!((name.last().refused.len(), name.last().is_refused), (1, false));
    take(&names, &name, Found { unknown: Some(lookup::Kind::V4), ..found(&["::1"]) });
    assert_eq!(name.last().refused.len(), 1);
    take(&names, &name, found(&["::1"]));
    assert_eq!(name.last().refused.len(), 0);
}

/// Built-in addresses are judged like an answer, whether the name or the gateway's addresses come first.
#[test]
fn localhost_is_never_the_gateway_itself() {
    let own = || ["127.0.0.1:80", "[::]:80", "127.0.0.1:81"].map(|own| own.parse().expect("an address")).to_vec();
    let of = |host: &str, port| HostPort { host: host.to_owned(), port };
    for host in ["localhost", "localhost.", "app.localhost"] {
        let (names, later) = (names(), names());
        let before = names.of(&of(host, 80));
        assert!(!before.addresses.is_empty());
        names.begin(&[], own());
        later.begin(&[], own());
        for name in [before, later.of(&of(host, 80))] {
            assert_eq!(shown(&name.addresses), "", "{host}");
        }
        let name = name(host);
        take(&names, &name, found(&["127.0.0.9"]));
        assert_eq!(shown(&name.addresses), "", "{host}: `/etc/hosts` says that it is one of ours and nothing else");
        assert_eq!(shown(&names.of(&of(host, 81)).addresses), "[::1]:81");
        assert_eq!(shown(&names.of(&of(host, 82)).addresses), "127.0.0.1:82, [::1]:82");
    }
}

#[test]
fn a_kind_of_addresses_that_could_not_be_found_out_is_kept() {
    let (names, name) = (names(), name("a.example"));
    take(&names, &name, found(&["127.0.0.1", "::1"]));
    take(&names, &name, Found { unknown: Some(lookup::Kind::V4), ..found(&["::1"]) });
    assert_eq!(shown(&name.addresses), "127.0.0.1:80, [::1]:80");
    take(&names, &name, found(&["127.0.0.2"]));
    assert_eq!(shown(&name.addresses), "127.0.0.2:80");
}
