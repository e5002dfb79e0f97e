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
    assert_eq!(name.last().refused.len(), 2);
    take(&names, &name, found(&["169.254.169.254"]));
    assert_eq!(shown(&name.addresses), "127.0.0.1:80", "an answer of nothing but these is no answer");
    assert!(name.last().failure.as_ref().is_some_and(|why| why.contains("169.254.169.254")));
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
