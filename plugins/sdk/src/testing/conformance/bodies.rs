use std::{fmt::Debug, time::Duration};

use bytes::Bytes;

use super::requests::MARK;
use crate::{Body, testing::Request};

/// The longest that a hook may keep its thread, however busy the machine is that tests it. A hook that computes for
/// longer than a millisecond does so elsewhere; a test cannot tell that from a machine with much to do.
pub(super) const MAX_POLL: Duration = Duration::from_secs(2);

/// Passes bodies of odd shapes through the filter, both ways.
pub(super) fn pass(hook: &dyn Body, request: &mut Request, mut said: impl FnMut(Box<dyn Debug>)) {
    for pieces in shapes() {
        let Some(mut filter) = hook.begin(&request.cx()) else { return };
        for (piece, end) in pieces {
            let began = std::time::Instant::now();
            said(Box::new(filter.request(&mut piece.clone(), end)));
            said(Box::new(filter.response(&mut piece.clone(), end)));
            assert!(began.elapsed() <= MAX_POLL, "a piece of a body took {:?}", began.elapsed());
        }
    }
}

/// Bodies as pieces, of which the last says that it is the last.
fn shapes() -> [Vec<(Option<Bytes>, bool)>; 5] {
    let (large, text) = (Bytes::from(vec![b'a'; 1 << 20]), Bytes::from_static(MARK.as_bytes()));
    let bytes = Bytes::from_static(b"\xff\xfe\0");
    [
        vec![(None, true)],
        vec![(Some(Bytes::new()), false), (Some(Bytes::new()), true)],
        vec![(Some(large), false), (Some(bytes.clone()), false), (None, true)],
        vec![(Some(text), true)],
        // It is cut off.
        vec![(Some(bytes), false)],
    ]
}
