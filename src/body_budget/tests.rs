use super::*;

/// Returns a budget of this size.
fn budget(max_bytes: usize) -> Arc<BodyBudget> {
    let budget = BodyBudget::new(Arc::default());
    budget.set_max_bytes(max_bytes);
    Arc::new(budget)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Takes all that one address can get, a few bytes at a time and in as many reservations as possible.
fn all_for(budget: &Arc<BodyBudget>, address: IpAddr) -> Vec<Reservation> {
    let mut all = Vec::new();
    loop {
        let mut reservation = budget.reservation(address);
        if !reservation.grow_to(10) {
            return all;
        }
        all.push(reservation);
    }
}

fn bytes(all: &[Reservation]) -> usize {
    all.iter().map(Reservation::bytes).sum()
}

#[test]
fn one_address_takes_no_more_than_it_leaves_to_others() {
    let budget = budget(12_000);
    let first = all_for(&budget, address("192.0.2.1"));
    assert_eq!(bytes(&first), 6_000, "half of it");
    let mut another = budget.reservation(address("192.0.2.1"));
    assert!(!another.grow_to(1), "and by no other request any more");
    let second = all_for(&budget, address("192.0.2.2"));
    assert_eq!(bytes(&second), 3_000);
    let third = all_for(&budget, address("192.0.2.3"));
    assert_eq!(bytes(&third), 1_500);
    assert!(!budget.reservation(address("192.0.2.4")).grow_to(1), "strangers leave an eighth free");
    let mut known = budget.reservation(address("192.0.2.1")).vouched();
    assert!(known.grow_to(1_500), "for those who are known, also where a stranger has taken all that one can");
    assert!(!known.grow_to(1_501));
    drop(known);
    drop(first);
    assert!(budget.reservation(address("192.0.2.4")).grow_to(3_700), "what is given back is everybody's");
    drop((second, third));
    assert_eq!(budget.used_bytes.load(Relaxed), 0);
}

#[test]
fn an_ipv6_client_is_its_network() {
    let budget = budget(1_000);
    let all = all_for(&budget, address("2001:db8:0:1::1"));
    assert_eq!(bytes(&all), 500);
    assert!(!budget.reservation(address("2001:db8:0:1:ffff::2")).grow_to(1));
    assert!(budget.reservation(address("2001:db8:0:2::1")).grow_to(250));
    let mapped = all_for(&budget, address("::ffff:192.0.2.1"));
    assert_eq!(bytes(&mapped), 250);
    assert!(!budget.reservation(address("192.0.2.1")).grow_to(1));
}

#[test]
fn nothing_is_remembered_of_who_holds_nothing() {
    let budget = budget(1 << 20);
    for number in 0..100_000_u32 {
        let mut reservation = budget.reservation(IpAddr::from(number.to_be_bytes()));
        assert!(reservation.grow_to(100));
        reservation.overdraw_to(300);
        assert!(!reservation.grow_to(1 << 20));
        assert_eq!((budget.blocks.lock().len(), budget.used_bytes.load(Relaxed)), (1, 300));
    }
    drop(budget.reservation(address("192.0.2.1")));
    assert_eq!((budget.blocks.lock().len(), budget.used_bytes.load(Relaxed)), (0, 0));
}
