//! What the benches stand on: processes on cores of their own, a load that keeps them busy, and what a request costs.
//!
//! The proxy has one core to itself; clients, upstream and the reader of the log share another, so that none of them
//! takes time from what is measured. They need less of it than the proxy, which therefore is what limits the rate.
//!
//! CPU time is what the kernel accounts to the proxy's process, all threads and system calls included. A machine that
//! does other things at the same time changes rates and latencies much and CPU time little, so that is what is
//! compared, and always with a neighbour in time: subjects take turns.

use std::{rc::Rc, time::Duration};

pub(crate) mod bare;
pub(crate) mod certificate;
pub(crate) mod handshakes;
pub(crate) mod load;
pub(crate) mod process;

/// Plays the part that the command line asks for, if it does: the bench starts itself again as the bare proxy.
pub(crate) fn has_played_a_part() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["part", "bare", address, upstream] => bare::serve(address, upstream, None),
        ["part", "bare", address, upstream, cert, key] => bare::serve(address, upstream, Some((cert, key))),
        _ => return false,
    }
    true
}

/// The middle one. Of an even number the upper of the two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// In microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A request for this path with these headers: some 250 bytes in eight lines, as a program sends it.
pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Rc<[u8]> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: orders-client/3.14 (linux; x86_64)\r\n\
         Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n{headers}\
         Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
    );
    head.into_bytes().into()
}
