use super::*;
use crate::front::life::StreamLife;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn is_displaced(place: &Place) -> bool {
    place.state.lock().is_displaced
}

#[test]
fn one_address_has_no_more_than_its_part() {
    let admission = Admission::default();
    let taken: Vec<_> = (0..3).map_while(|_| admission.take(address("192.0.2.1"), 3)).collect();
    assert_eq!(taken.len(), 3);
    assert_eq!(admission.take(address("::ffff:192.0.2.1"), 3), None, "the same one in other words");
    assert!(admission.take(address("192.0.2.2"), 3).is_some());
    admission.give_back(taken[0]);
    assert!(admission.take(address("192.0.2.1"), 3).is_some());
}

#[test]
fn an_ipv6_network_of_a_subscriber_is_one_address() {
    let admission = Admission::default();
    let first = admission.take(address("2001:db8::1"), 1).expect("the first");
    assert_eq!(admission.take(address("2001:db8::ffff:1"), 1), None);
    let other = admission.take(address("2001:db8:0:1::1"), 1).expect("another network");
    admission.give_back(first);
    admission.give_back(other);
    assert!(admission.is_empty(), "addresses without connections are forgotten");
}

#[test]
fn the_oldest_idle_connection_closes_first() {
    let admission = Admission::default();
    let places: Vec<_> = (0..5).map(|_| admission.enter()).collect();
    let _busy = places[0].request().expect("not displaced");
    // A request makes a connection the youngest of those that wait.
    drop(places[1].request());
    for oldest in [2, 3, 4, 1] {
        assert!(admission.displace_oldest());
        assert!(is_displaced(&places[oldest]), "{oldest}");
        assert!(places[oldest].request().is_none(), "nothing begins on it any more");
    }
    assert!(!admission.displace_oldest(), "the last one is in use");
    assert!(!is_displaced(&places[0]));
    places.iter().for_each(|place| admission.leave(place));
    assert!(admission.is_empty());
}

#[test]
fn of_many_connections_the_oldest_are_found() {
    let admission = Admission::default();
    let places: Vec<_> = (0..2000).map(|_| admission.enter()).collect();
    for place in &places[..1000] {
        assert!(admission.displace_oldest());
        assert!(is_displaced(place));
        admission.leave(place);
    }
    assert!(!places[1000..].iter().any(|place| is_displaced(place)));
}

#[tokio::test]
async fn a_connection_hears_it_whenever_it_listens() {
    let admission = Admission::default();
    let place = admission.enter();
    assert!(admission.displace_oldest());
    place.displaced().await;
}

#[test]
fn a_request_that_was_refused_keeps_no_connection() {
    let place = Admission::default().enter();
    let life = StreamLife::default();
    life.occupy(place.request().expect("not displaced"));
    assert_eq!(place.idle_since(), None);
    life.vacate();
    assert!(place.idle_since().is_some_and(|since| place.displace(since)));
    drop(life);
    assert_eq!(place.state.lock().requests, 0, "given back once");
}
