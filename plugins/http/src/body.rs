//! Reading a body, and no more of it than allowed.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use portcullis_plugin::http::{HeaderMap, header};

use crate::{
    HttpError,
    error::{Part, words},
    limits::MAX_HEAD_BYTES,
};

/// Reads it to its end and unpacks it. `limit` holds for the bytes as they are sent and once they are unpacked.
///
/// # Errors
/// It is too large, breaks off, or is not packed as it says.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming, limit: usize) -> Result<Vec<u8>, HttpError> {
    let too_large = HttpError::TooLarge(Part::Body, limit);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut reader = Reader::new(headers, limit)?;
    let mut sent = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        sent = sent.saturating_add(data.len());
        if sent > limit {
            return Err(too_large);
        }
        reader.take(data)?;
    }
    reader.finish()
}

/// An error of hyper before, in or after an answer.
pub(crate) fn failure(error: &hyper::Error) -> HttpError {
    if error.is_parse_too_large() {
        return HttpError::TooLarge(Part::Head, MAX_HEAD_BYTES);
    }
    if error.is_parse() || error.is_user() {
        return HttpError::Malformed(format!("the answer breaks the rules of HTTP: {}", words(error)));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return HttpError::Unreachable(format!("the server ended the connection: {}", words(error)));
    }
    HttpError::Unreachable(words(error))
}

enum Reader {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Reader {
    fn new(headers: &HeaderMap, limit: usize) -> Result<Self, HttpError> {
        let bounded = Bounded { bytes: Vec::new(), limit, is_exceeded: false };
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = codings.next().map(|coding| coding.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        if codings.next().is_some() {
            return Err(HttpError::Malformed("the answer is packed twice, which was not asked for".to_owned()));
        }
        match coding.as_deref() {
            None | Some("" | "identity") => Ok(Self::Plain(bounded)),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))),
            Some(_) => Err(HttpError::Malformed(
                "the answer is packed by another method than gzip, which was not asked for".to_owned(),
            )),
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), HttpError> {
        let taken = match self {
            Self::Plain(bounded) => bounded.write_all(data),
            Self::Gzip(gzip) => gzip.write_all(data),
        };
        taken.map_err(|error| self.failure(&error))
    }

    fn finish(mut self) -> Result<Vec<u8>, HttpError> {
        if let Self::Gzip(gzip) = &mut self
            && let Err(error) = gzip.try_finish()
        {
            return Err(self.failure(&error));
        }
        Ok(match self {
            Self::Plain(bounded) => bounded.bytes,
            Self::Gzip(mut gzip) => std::mem::take(&mut gzip.get_mut().bytes),
        })
    }

    fn failure(&self, error: &io::Error) -> HttpError {
        let bounded = match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(gzip) => gzip.get_ref(),
        };
        if bounded.is_exceeded {
            return HttpError::TooLarge(Part::Unpacked, bounded.limit);
        }
        HttpError::Malformed(format!("the answer says that it is gzip, and cannot be unpacked: {error}"))
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    is_exceeded: bool,
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            self.is_exceeded = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
