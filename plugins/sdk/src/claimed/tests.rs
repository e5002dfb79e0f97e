use super::*;

#[test]
fn of_several_keys_each_is_told_once_and_there_is_an_end_to_them() {
    let ids = |ids: &[&str]| Claimed::by_key_ids(ids.iter().copied()).key_ids().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(ids(&["b", "a", "", "b"]), ["b", "a"]);
    assert_eq!(ids(&["1", "2", "3", "4", "5", "6"]), ["1", "2", "3", "4"]);
    assert_eq!(ids(&[&"é".repeat(200)]), ["é".repeat(Claimed::NAME_MAX_BYTES / 2)]);
    let first = |ids: [&str; 2]| Claimed::by_key_ids(ids).fields().map(|(name, id)| format!("{name}={id}")).next();
    assert_eq!(first(["b", "a"]).as_deref(), Some("key_id=b"));
    assert_eq!(first(["", ""]), None);
    // Claims that are logged differently are not equal.
    assert_ne!(Claimed::by_key_ids(["a", "b"]), Claimed::by_key_ids(["a", "c"]));
}
