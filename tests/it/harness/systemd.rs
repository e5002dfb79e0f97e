//! In the place of systemd: the socket on which a daemon says how it is (sd_notify(3)).

use tempfile::TempDir;
use tokio::{
    net::UnixDatagram,
    sync::{Mutex, mpsc},
};

use super::within;

/// Listens where `NOTIFY_SOCKET` points.
pub(crate) struct Systemd {
    received: Mutex<mpsc::UnboundedReceiver<Told>>,
    address: String,
    _dir: TempDir,
}

/// One message: its lines, `NAME=value` each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told(Vec<(String, String)>);

impl Told {
    fn read(message: &[u8]) -> Self {
        let text = std::str::from_utf8(message).expect("text");
        let lines = text.lines().map(|line| line.split_once('=').unwrap_or_else(|| panic!("not NAME=value: {line}")));
        Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The value under this name.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says `NAME=1`.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.value(name) == Some("1")
    }
}

impl Systemd {
    /// Binds a socket of its own, and reads it as fast as the real one does.
    pub(crate) fn listen() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in our own directory");
        let (sender, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message).await {
                // Nobody listens any more: the test has ended.
                let _ = sender.send(Told::read(&message[..length]));
            }
        });
        Self { received: Mutex::new(received), address: path.display().to_string(), _dir: dir }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The next message.
    pub(crate) async fn next(&self) -> Told {
        let mut received = self.received.lock().await;
        within("a message to systemd", received.recv()).await.expect("the reader lives as long as the test")
    }
}
