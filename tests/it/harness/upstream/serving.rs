//! A listening socket on a thread and a runtime of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    thread::{self, JoinHandle},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
};

/// Accepts connections until it is dropped; then the port and every connection are closed.
pub(super) struct Serving {
    /// Where it listens: loopback, on a port that was free.
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Gives every connection, numbered from 1, to a task that `serve` makes.
    pub(super) fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    /// The same at this address.
    pub(super) fn start_at<F>(at: SocketAddr, serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = StdListener::bind(at).expect("a free port on loopback");
        listener.set_nonblocking(true).expect("a socket can be set to non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, serve) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked: then the scenario has failed on what it did not answer.
            let _ = thread.join();
        }
    }
}

async fn accept<F>(listener: StdListener, serve: impl Fn(TcpStream, usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a non-blocking socket");
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        number += 1;
        // Answers of several small writes must not wait for the peer's delayed acknowledgement (40 ms a request).
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream, number));
    }
}
