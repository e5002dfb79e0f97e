//! The upstream: gives every request the same answer, as fast as a runtime lets it.

use std::io::Write;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What every answer ends with, so that the load sees its end without parsing.
pub const ANSWER_END: &[u8] = b"\"state\":\"shipped\"}";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 64\r\n\r\n\
    {\"id\":12345,\"customer\":\"c-88\",\"total\":\"19.90\",\"state\":\"shipped\"}";

/// Serves until it is killed; the first line on standard output is the address.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().expect("an address")).expect("somebody reads");
        out.flush().expect("somebody reads");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::with_capacity(8192);
    while matches!(stream.read_buf(&mut read).await, Ok(1..)) {
        // A proxy sends the next request when it has the answer, so what ends here ends one request.
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
