//! Chains are expensive to verify, and so each is verified in its turn.

use super::*;

#[test]
fn a_chain_waits_for_its_turn_and_a_certificate_that_is_known_does_not() {
    let root = Ca::root("Root");
    let ca = file(root.pem());
    let mut build = Build::new();
    let mut cx = BuildCx::new(&mut build);
    let policy = policy(config(&format!("ca = \"{}\"", ca.path().display())), &mut cx).unwrap();
    let (alice, bob) = (root.client("alice", |_| {}), root.client("bob", |_| {}));
    let stranger = Ca::root("Root").client("alice", |_| {});
    let ask = |certificate: &Ca| {
        let mut request = over(sent(certificate, &[]));
        ready(policy.authenticate(&mut request.cx())).map(Result::unwrap)
    };
    assert!(matches!(ask(&alice), Some(Authentication::Granted(_))));
    let queue = policy.verifications.queue();
    let mut taken = Vec::new();
    while queue.available() > 0 {
        taken.push(queue.acquire("192.0.2.1".parse().unwrap(), None).unwrap());
    }
    assert!(ask(&bob).is_none() && ask(&stranger).is_none(), "both wait");
    assert!(matches!(ask(&alice), Some(Authentication::Granted(_))), "she is known");
    taken.clear();
    assert!(matches!(ask(&bob), Some(Authentication::Granted(_))));
    assert!(matches!(ask(&stranger), Some(Authentication::Denied(_))));
}
