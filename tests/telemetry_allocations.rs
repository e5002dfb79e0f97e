//! What is written and counted for each request allocates nothing once it is warm.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{self, Write},
    net::Ipv4Addr,
    time::Duration,
};

use portcullis::telemetry::{
    Access, Audit, AuditEvent, AuditResult, Metrics, Output,
    metrics::{AuthOutcome, Phase, UpstreamError},
};
use portcullis_plugin::Reason;

/// The system's allocator, which counts by thread: the log's writer is not on the request path.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same as ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_warm_request_allocates_nothing_for_its_lines_and_numbers() {
    let output = Output::start(Nowhere).expect("a thread can be started");
    let metrics = Metrics::new("0", Box::new(|| 0), Box::new(|| 0));
    let (route, policy, upstream) = (metrics.route("orders"), metrics.policy("keys"), metrics.upstream("orders"));
    let access = Access {
        request_id: "7f3a",
        address: "2001:db8::7".parse().expect("an address"),
        method: "GET",
        host: Some("api.example.com"),
        path: "/orders/\u{7}é\"",
        protocol: "HTTP/2",
        status: 200,
        bytes_sent: u64::MAX,
        bytes_received: 0,
        duration: Duration::from_micros(1500),
        route: Some("orders"),
        upstream: Some("orders"),
        target_address: None,
        unreached: &[],
        target: Some("10.0.0.1:9000"),
        consumer: Some("acme"),
        reason: None,
        error: None,
        user_agent: Some(b"curl \xff/8.5.0"),
    };
    let audit = Audit {
        event: AuditEvent::Authentication,
        result: AuditResult::Granted,
        reason: None,
        detail: None,
        request_id: "7f3a",
        route: Some("orders"),
        policy: Some("keys"),
        consumer: Some("acme"),
        subject: None,
        tenant: None,
        issuer: None,
        certificate: None,
        credentials: &[],
        claimed: None,
        address: Ipv4Addr::LOCALHOST.into(),
        method: "GET",
        path: "/orders",
    };
    let request = || {
        output.access(&access);
        output.try_audit(&audit).expect("the queue is empty enough");
        route.answered(200);
        policy.decided(AuthOutcome::Granted, None);
        policy.decided(AuthOutcome::Denied, Some(Reason::KeyUnknown));
        upstream.failed(UpstreamError::Timeout);
        for phase in [Phase::Policy, Phase::Upstream, Phase::Total] {
            metrics.observe(phase, Duration::from_millis(3));
        }
    };
    request();
    // The second round writes into the writer's buffer, which is there after the first exchange.
    for _ in 0..3 {
        assert!(output.flush(Duration::from_secs(10)));
        let before = ALLOCATIONS.get();
        for _ in 0..500 {
            request();
        }
        assert_eq!(ALLOCATIONS.get() - before, 0);
    }
    assert_eq!(output.dropped(), 0);
}
