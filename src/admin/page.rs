//! Long answers, sent in pieces: a page is made by a thread that does nothing else, sent while it is being made, and
//! never in memory as a whole.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use crate::proxy::refusal::{Answer, Problem};

/// The most pages that are made at once; further requests wait.
pub(crate) const PAGES_AT_ONCE_MAX: usize = 2;
/// The longest wait, after which the answer is 503.
const PAGE_WAIT: Duration = Duration::from_secs(2);
/// The value of `Retry-After` in that answer.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The size of a piece.
const PIECE_BYTES: usize = 64 << 10;
/// The number of pieces that are made ahead of the client.
const PIECES_AHEAD: usize = 4;

/// Limits the pages that are made at once.
pub(super) struct Pages(Arc<Semaphore>);

/// A page that is being made.
pub(super) struct Page {
    pub(super) pieces: mpsc::Receiver<Bytes>,
    making: JoinHandle<io::Result<()>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PAGES_AT_ONCE_MAX)))
    }
}

impl Pages {
    /// Begins to make a page. Dropping it ends the work.
    ///
    /// # Errors
    /// 503: too many others are being made.
    pub(super) async fn make(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Result<Page, Answer> {
        let turn = tokio::time::timeout(PAGE_WAIT, self.0.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Answer { retry_after: Some(RETRY_AFTER), ..Problem::Unavailable.into() });
        };
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let making = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut pieces = Pieces { piece: Vec::new(), sender };
            write(&mut pieces)?;
            pieces.flush()
        });
        Ok(Page { pieces, making })
    }
}

impl Page {
    /// Ends the page once there are no more pieces, and returns whether all of it was made.
    pub(super) async fn finish(self) -> bool {
        matches!(self.making.await, Ok(Ok(())))
    }
}

/// Cuts the written data into pieces, and waits while nobody takes them.
struct Pieces {
    piece: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of a page.
    async fn read(mut page: Page) -> (Vec<usize>, bool) {
        let mut lengths = Vec::new();
        while let Some(piece) = page.pieces.recv().await {
            lengths.push(piece.len());
        }
        (lengths, page.finish().await)
    }

    fn endless(out: &mut dyn Write) -> io::Result<()> {
        loop {
            out.write_all(&[b'x'; 1024])?;
        }
    }

    #[tokio::test]
    async fn a_page_comes_in_pieces_and_is_whole_or_is_not() {
        let pages = Pages::default();
        let page = pages.make(|out| (0..200).try_for_each(|_| out.write_all(&[b'x'; 1000]))).await;
        let (lengths, is_whole) = read(page.expect("a turn")).await;
        assert!(is_whole && lengths.iter().sum::<usize>() == 200_000 && lengths.len() == 4, "{lengths:?}");
        let broken = pages.make(|out| out.write_all(b"half").and_then(|()| Err(io::Error::other("broken")))).await;
        assert!(!read(broken.expect("a turn")).await.1);
        let panicked = pages.make(|_| panic!("a bug")).await;
        assert!(!read(panicked.expect("a turn")).await.1, "and its turn is over");
    }

    #[tokio::test]
    async fn who_asks_for_one_more_waits_and_is_told_to_come_again() {
        let pages = Pages::default();
        let mut slow = Vec::new();
        for _ in 0..PAGES_AT_ONCE_MAX {
            slow.push(pages.make(endless).await.expect("a turn"));
        }
        let refused = pages.make(|_| Ok(())).await.err().expect("no turn");
        assert_eq!((refused.problem, refused.retry_after), (Problem::Unavailable, Some(RETRY_AFTER)));
        // Nobody takes these: only a few pieces are made ahead.
        assert!(slow.iter().all(|page| page.pieces.len() == PIECES_AHEAD));
        slow.pop();
        let (_, is_whole) =
            read(pages.make(|out| out.write_all(b"made")).await.expect("a turn that was given back")).await;
        assert!(is_whole);
        drop(slow);
    }
}
