use tokio::time::sleep;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// How long a body of these pieces is read, and how much of it came: each piece is as long after the one before as it
/// says.
async fn read(pieces: impl IntoIterator<Item = (Duration, usize)>) -> (Duration, usize) {
    let (mut throughput, mut received, begun) = (MinThroughput::new(PATIENCE), 0, Instant::now());
    for (pause, bytes) in pieces {
        if throughput.next(received, sleep(pause)).await.is_none() {
            break;
        }
        received += bytes;
    }
    (begun.elapsed(), received)
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_keeps_no_place() {
    let drip = std::iter::repeat((Duration::from_secs(1), 1));
    let (lasted, received) = read(drip).await;
    assert!(lasted >= PATIENCE && lasted < PATIENCE + Duration::from_secs(1), "{lasted:?}");
    assert!((29..=30).contains(&received), "{received}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_steadily_may_take_its_time() {
    let (second, whole) = (Duration::from_secs(1), 64 << 20);
    let steady = std::iter::repeat_n((second, 20 << 10), whole / (20 << 10));
    let (lasted, received) = read(steady).await;
    assert!(lasted > Duration::from_secs(3000) && received > whole - (20 << 10), "{lasted:?} {received}");
    // A little too slow, it has its patience and no more.
    let (lasted, _) = read(std::iter::repeat((second, 8 << 10))).await;
    assert!(lasted > PATIENCE && lasted < PATIENCE * 2 + second, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_ends_soon_however_much_of_it_came_at_once() {
    let (begun, pieces) = (Duration::from_millis(1), [(Duration::from_millis(1), 100 << 20), (PATIENCE * 9, 1)]);
    assert_eq!(read(pieces).await, (begun + PATIENCE, 100 << 20));
}
