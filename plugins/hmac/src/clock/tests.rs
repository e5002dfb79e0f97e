use super::*;
use crate::scheme::{BodyUse, Message};

const NOW: UnixTime = UnixTime(1_000_000);

/// The seconds that are left; -1 for stale, -2 for no time.
fn left(created: Option<i64>, expires: Option<i64>, is_presigned: bool) -> i64 {
    let clock = Clock { window: Duration::from_secs(300), skew: Duration::from_secs(30) };
    let claim = Claim {
        key_id: None,
        signatures: Vec::new(),
        algorithm: None,
        created: created.map(UnixTime),
        expires: expires.map(UnixTime),
        is_presigned,
        nonce: None,
        body: BodyUse::NotCovered,
        message: Message::default(),
        scope: String::new(),
    };
    match clock.left(&claim, NOW) {
        Ok(left) => i64::try_from(left.as_secs()).unwrap(),
        Err(wrong) => {
            if wrong.reason == Reason::SignatureStale {
                -1
            } else {
                -2
            }
        }
    }
}

#[test]
fn a_signature_lasts_for_the_window_and_the_skew() {
    let now = NOW.0;
    assert_eq!(left(Some(now), None, false), 330);
    assert_eq!(left(Some(now - 329), None, false), 1);
    assert_eq!(left(Some(now - 330), None, false), -1);
    assert_eq!(left(Some(now + 30), None, false), 360);
    assert_eq!(left(Some(now + 31), None, false), -1);
    assert_eq!(left(Some(now), Some(now + 10), false), 40);
    assert_eq!(left(Some(now), Some(now + 10_000), false), 330);
    assert_eq!(left(Some(now), Some(now - 30), false), -1);
    assert_eq!(left(None, Some(now + 10), false), -2);
    assert_eq!(left(None, None, false), -2);
}

#[test]
fn a_presigned_request_lasts_until_its_end_and_at_most_a_week() {
    let now = NOW.0;
    assert_eq!(left(Some(now - 3600), Some(now + 3600), true), 3630);
    assert_eq!(left(Some(now), None, true), -2);
    assert_eq!(left(Some(now), Some(i64::MAX), true), 7 * 86_400 + 30);
    assert_eq!(left(Some(now - 8 * 86_400), Some(now + 10), true), -1);
    assert_eq!(left(Some(now + 60), Some(now + 3600), true), -1);
}

#[test]
fn no_time_overflows() {
    bolero::check!().with_type::<(i64, Option<i64>, bool)>().for_each(|(created, expires, is_presigned)| {
        let left = left(Some(*created), *expires, *is_presigned);
        assert!(left <= 7 * 86_400 + 60, "{left}");
    });
}
