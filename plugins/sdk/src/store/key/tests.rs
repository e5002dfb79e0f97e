use super::*;

#[test]
fn keys_on_the_wire_differ_and_cannot_be_split_by_what_is_in_them() {
    let spaces = [
        Space::replay("a"),
        Space::revocation("a"),
        Space::shared("a"),
        Space::cache("a"),
        Space::of_policy("a", "p"),
        Space::of_policy("a", "p/x"),
        Space::of_policy("a", ""),
        Counters::of_policy("a", "p").0,
    ];
    let (long, longer) = ([b'x'; 97], [b'x'; 98]);
    let names: [&[u8]; 10] = [b"", b"x", b"x/y", b"}x", b"{x}", b"x\0", b"\xff\xfe", b"%7Dx", &long, &longer];
    let mut seen = std::collections::HashSet::new();
    for space in &spaces {
        for name in names {
            for part in [0, 1] {
                let wire = space.key(name).part(part).wire_name("edge");
                assert!(wire.bytes().all(|byte| byte.is_ascii_graphic()) && wire.len() < 700, "{wire}");
                assert_eq!((wire.matches('{').count(), wire.matches('}').count()), (1, 1), "{wire}");
                assert!(seen.insert(wire.clone()), "{wire} twice");
            }
        }
    }
    let ids: std::collections::HashSet<_> = spaces.iter().map(Space::id).collect();
    assert_eq!(ids.len(), spaces.len());
}

#[test]
fn parts_of_a_name_have_one_hash_tag() {
    let counters = Counters::of_policy("requests", "api");
    let tag = |wire: &str| wire[wire.find('{').unwrap()..=wire.find('}').unwrap()].to_owned();
    let [first, second] = [0, 7].map(|part| counters.counter(b"acme").part(part).key().wire_name("edge"));
    assert_ne!(first, second);
    assert_eq!(tag(&first), tag(&second));
}
