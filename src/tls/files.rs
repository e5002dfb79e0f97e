//! Reading a file that a path was given for, and that may be anything.

use std::{fs::File, io::Read, path::Path};

/// The most that is read of a file with certificates. A thousand of the longest that are taken fit.
pub(super) const CERTIFICATES_MAX_BYTES: usize = 64 << 20;
/// The most that is read of an OCSP response. They have 500 bytes, or 3000 with the certificate of who made them.
pub(super) const OCSP_MAX_BYTES: usize = 64 << 10;

/// What stands in it. A reload must not wait for a pipe, nor fill the memory with what never ends.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let fails = |error: std::io::Error| format!("`{shown}`: {error}");
    if !std::fs::metadata(path).map_err(fails)?.is_file() {
        return Err(format!("`{shown}` is not a file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(fails)?;
    if bytes.len() > max_bytes { Err(format!("`{shown}` is larger than {max_bytes} bytes")) } else { Ok(bytes) }
}
