use super::*;

/// Returns a budget of this size.
fn room(max_bytes: usize) -> Arc<BodyBudget> {
    let room = BodyBudget::new(Arc::default());
    room.set_max_bytes(max_bytes);
    Arc::new(room)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Takes all that one address can get, a few bytes at a time and in as many reservations as possible.
fn all_for(room: &Arc<BodyBudget>, address: IpAddr) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        let mut part = room.part(address);
        if !part.grow_to(10) {
            return parts;
        }
        parts.push(part);
    }
}

fn bytes(parts: &[Part]) -> usize {
    parts.iter().map(Part::bytes).sum()
}

#[test]
fn one_address_takes_no_more_than_it_leaves_to_others() {
    let room = room(12_000);
    let first = all_for(&room, address("192.0.2.1"));
    assert_eq!(bytes(&first), 6_000, "half of it");
    let mut another = room.part(address("192.0.2.1"));
    assert!(!another.grow_to(1), "and by no other request any more");
    let second = all_for(&room, address("192.0.2.2"));
    assert_eq!(bytes(&second), 3_000);
    let third = all_for(&room, address("192.0.2.3"));
    assert_eq!(bytes(&third), 1_500);
    assert!(!room.part(address("192.0.2.4")).grow_to(1), "strangers leave an eighth free");
    let mut known = room.part(address("192.0.2.1")).vouched();
    assert!(known.grow_to(1_500), "for those who are known, also where a stranger has taken all that one can");
    assert!(!known.grow_to(1_501));
    drop(known);
    drop(first);
    assert!(room.part(address("192.0.2.4")).grow_to(3_700), "what is given back is everybody's");
    drop((second, third));
    assert_eq!(room.used_bytes.load(Relaxed), 0);
}

#[test]
fn an_ipv6_client_is_its_network() {
    let room = room(1_000);
    let all = all_for(&room, address("2001:db8:0:1::1"));
    assert_eq!(bytes(&all), 500);
    assert!(!room.part(address("2001:db8:0:1:ffff::2")).grow_to(1));
    assert!(room.part(address("2001:db8:0:2::1")).grow_to(250));
    let mapped = all_for(&room, address("::ffff:192.0.2.1"));
    assert_eq!(bytes(&mapped), 250);
    assert!(!room.part(address("192.0.2.1")).grow_to(1));
}

#[test]
fn nothing_is_remembered_of_who_holds_nothing() {
    let room = room(1 << 20);
    for number in 0..100_000_u32 {
        let mut part = room.part(IpAddr::from(number.to_be_bytes()));
        assert!(part.grow_to(100));
        part.overdraw_to(300);
        assert!(!part.grow_to(1 << 20));
        assert_eq!((room.blocks.lock().len(), room.used_bytes.load(Relaxed)), (1, 300));
    }
    drop(room.part(address("192.0.2.1")));
    assert_eq!((room.blocks.lock().len(), room.used_bytes.load(Relaxed)), (0, 0));
}
