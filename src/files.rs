//! Files that the configuration names: certificates, keys, secrets, what policies read.
//!
//! A reload waits for each of them, so that none may be one that does not end: a pipe, a device, a file that fills the
//! memory.

use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

/// What stands in a file.
///
/// # Errors
/// It cannot be read, is not a regular file, or is larger than `max_bytes`: with its path.
pub fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    contents(path, max_bytes).map_err(|why| format!("`{}`: {why}", path.display()))
}

/// The same, for who says by itself which file it is about.
///
/// # Errors
/// As [`read`], without the path.
pub fn contents(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let fails = |error: std::io::Error| error.to_string();
    // Opening a pipe would wait for whoever writes to it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(fails)?;
    if !file.metadata().map_err(fails)?.is_file() {
        return Err("this is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(fails)?;
    if bytes.len() > max_bytes { Err(format!("the file is larger than {max_bytes} bytes")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_a_bounded_size_are_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "1234").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"1234");
        assert!(read(&file, 3).unwrap_err().ends_with("the file is larger than 3 bytes"));
        // Neither ends, and the first waits for somebody to write.
        assert!(read(Path::new("/dev/zero"), 3).unwrap_err().ends_with("this is not a file"));
        assert!(read(folder.path(), 3).unwrap_err().ends_with("this is not a file"));
        assert!(read(&folder.path().join("none"), 3).unwrap_err().contains("No such file"));
    }
}
