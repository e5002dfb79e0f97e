//! A DNS server that says what the scenario wants, and may change its mind.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What is said of a name.
#[derive(Clone, Debug)]
pub(crate) enum DnsAnswer {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Silence,
}

/// Answers over UDP on loopback. A name that it was not told of does not exist.
pub(crate) struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Zone {
    answers: HashMap<String, DnsAnswer>,
    asked: Vec<String>,
}

const A: u16 = 1;
const AAAA: u16 = 28;

impl Dns {
    /// Starts one that knows nothing.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket can have a time limit");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (zone, stops) = (Arc::<Mutex<Zone>>::default(), Arc::<AtomicBool>::default());
        let (knows, ends) = (zone.clone(), stops.clone());
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !ends.load(SeqCst) {
                let Ok((length, client)) = socket.recv_from(&mut question) else { continue };
                let answer = answer(&question[..length], &mut knows.lock().expect("no holder panics"));
                answer.into_iter().for_each(|answer| drop(socket.send_to(&answer, client)));
            }
        });
        Self { address, zone, stops, thread: Some(thread) }
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it says this of a name.
    pub(crate) fn say(&self, name: &str, answer: DnsAnswer) {
        self.zone.lock().expect("no holder panics").answers.insert(name.to_owned(), answer);
    }

    /// From now on a name has these addresses, for one second each time.
    pub(crate) fn addresses(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
        self.say(name, DnsAnswer::Addresses(addresses, 1));
    }

    /// How often it was asked for this name, for either kind of addresses.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.zone.lock().expect("no holder panics").asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// The message to a question (RFC 1035 section 4.1), if there is one.
fn answer(question: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let (name, end) = name(question, 12)?;
    let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
    zone.asked.push(name.clone());
    let (code, addresses, ttl) = match zone.answers.get(&name) {
        Some(DnsAnswer::Addresses(addresses, ttl)) => (0, addresses.as_slice(), *ttl),
        Some(DnsAnswer::Failure) => (2, &[][..], 0),
        Some(DnsAnswer::Silence) => return None,
        None => (3, &[][..], 0),
    };
    let fits = |ip: &&IpAddr| kind == if ip.is_ipv4() { A } else { AAAA };
    let addresses: Vec<&IpAddr> = addresses.iter().filter(fits).collect();
    // The id; a response, recursion available; one question and the answers.
    let mut message = question[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    message.extend(&question[12..end + 4]);
    for ip in addresses {
        // The name of the question, its kind, class IN.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => message.extend([&[0, 4], &ip.octets()[..]].concat()),
            IpAddr::V6(ip) => message.extend([&[0, 16], &ip.octets()[..]].concat()),
        }
    }
    Some(message)
}

/// A name in lower case, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}
