use super::*;

const MAX: usize = 8000;
const RATE: MinBodyRate = MinBodyRate { bytes_per_second: 1 << 20, patience: Duration::from_millis(50) };

fn upload(budget: &Arc<UnsentBudget>, write_timeout: Duration) -> Arc<Upload> {
    Arc::new(Upload::new(budget.clone(), write_timeout, RATE))
}

fn budget() -> Arc<UnsentBudget> {
    let budget = Arc::new(UnsentBudget::default());
    budget.set_max_bytes(MAX);
    budget
}

fn piece(bytes: usize) -> Bytes {
    vec![0; bytes].into()
}

#[tokio::test]
async fn a_piece_waits_for_the_one_before_it_where_memory_is_tight() {
    let (budget, minute) = (budget(), Duration::from_secs(60));
    let patient = upload(&budget, minute);
    let first = patient.forward(piece(2500)).await;
    let second = tokio::spawn({
        let patient = patient.clone();
        async move { patient.forward(piece(500)).await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    let short = upload(&budget, Duration::from_millis(1));
    let other = short.forward(piece(1)).await.expect("there is a piece for every request");
    assert_eq!(short.forward(piece(500)).await, Err(NotForwarded::UpstreamStalled));
    let late = upload(&budget, Duration::from_millis(1));
    assert_eq!(late.forward(piece(1000)).await, Err(NotForwarded::NoMemory), "more than uploads may hold");
    drop((first, other));
    assert!(second.await.expect("no panic").is_ok());
    assert_eq!(budget.used().load(SeqCst), 0);
}

#[tokio::test]
async fn the_time_in_which_the_gateway_or_the_upstream_holds_a_body_is_not_the_clients() {
    let upload = upload(&budget(), Duration::from_secs(60));
    let sleep = || tokio::time::sleep(2 * RATE.patience);
    sleep().await;
    assert!(!upload.receive(1), "nobody has waited for it");
    upload.expect();
    assert!(!upload.receive(1));
    let unsent = upload.forward(piece(1)).await.expect("there is memory");
    sleep().await;
    assert_eq!(upload.waits(), Duration::ZERO, "the upstream takes its time");
    assert!(!upload.receive(1));
    let next = upload.forward(piece(1)).await.expect("there is memory");
    drop(unsent);
    assert_eq!(upload.waits(), Duration::ZERO, "a piece is left");
    drop(next);
    upload.set_held(true);
    sleep().await;
    upload.set_held(false);
    assert!(upload.waits() < RATE.patience, "its response had no memory");
    sleep().await;
    assert!(upload.waits() > RATE.patience && upload.receive(1), "now it is the client that takes its time");
    let unsent = upload.forward(piece(1)).await.expect("there is memory");
    upload.suspend();
    drop(unsent);
    sleep().await;
    assert!(upload.waits() == Duration::ZERO && !upload.receive(1), "another upstream is looked for");
    upload.expect();
    sleep().await;
    assert!(upload.waits() > RATE.patience);
    upload.end();
    upload.wait();
    sleep().await;
    assert!(upload.waits() == Duration::ZERO && !upload.receive(1), "nothing more is expected");
}
