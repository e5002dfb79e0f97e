//! What is written and counted for each request allocates nothing once it is warm.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    time::Duration,
};

use allocation_counter::measure;
use portcullis_plugin::Reason;

use super::{
    Access, Audit, AuditEvent, AuditResult, Metrics, Output,
    metrics::{AuthOutcome, Phase, UpstreamError},
};

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
        let made = measure(|| (0..500).for_each(|_| request()));
        assert_eq!(made.count_total, 0);
    }
    assert_eq!(output.dropped(), 0);
}
