use super::*;
use crate::store::local::name::Name;

const ROOM: Room = Room { max_marks: 1 << 20, is_cache: false };

fn name(number: u32) -> Name {
    Name::new([u64::from(number); 2])
}

#[test]
fn a_mark_does_not_end_early_and_at_most_a_second_late() {
    let second = Duration::from_secs(1);
    for now in [0, 1, 999_999, 1_000_000, 7_777_777] {
        for keep in [1, 999, 1_000, 1_001, 86_400_000].map(Duration::from_millis) {
            let end = Duration::from_secs(mark_end(keep, now).into());
            let exact = Duration::from_micros(now) + keep;
            assert!(end > exact && end <= exact + second, "{now} {keep:?}");
        }
    }
    assert_eq!(mark_end(Duration::MAX, u64::MAX), Second::MAX);
}

#[test]
fn entries_that_have_ended_give_their_memory_back() {
    let mut table = Table::default();
    for number in 0..20_000_u32 {
        let value = Bytes::from("x".repeat(number as usize % 2));
        let keep = Duration::from_secs(if number < 100 { 11 } else { 9 });
        assert!(table.put(name(number), value, keep, ROOM, 0).is_ok());
    }
    let second = |seconds: u64| seconds * 1_000_000;
    assert!((0..20_000).all(|number| table.value(&name(number), second(9) - 1).is_some()));
    assert!((0..20_000).all(|number| table.value(&name(number), second(10)).is_some() == (number < 100)));
    table.sweep(8, second(8));
    assert_eq!(table.len(), 20_000);
    table.sweep(10, second(10));
    assert_eq!((table.len(), table.first_end), (100, 12));
    assert!(!table.is_over(second(11)) && table.is_over(second(12)));
    assert!(table.marks.capacity() < 1_000 && table.values.capacity() < 1_000, "the memory of a flood comes back");
    assert_eq!(table.room_taken(), 50 + 50 * MARKS_PER_VALUE);
}
