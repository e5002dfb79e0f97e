//! Files that the configuration names: certificates, keys, secrets, and files of policies.
//!
//! A reload waits for each of them, so none may be endless: a pipe, a device, a file that fills the memory.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Returns the content of a file.
///
/// # Errors
/// It cannot be read, is not a regular file, or is larger than `max_bytes`. The message contains its path.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    contents(path, max_bytes).map_err(|why| format!("`{}`: {why}", path.display()))
}

/// Does the same for a caller whose own message names the file.
///
/// # Errors
/// As [`read`], without the path.
pub(crate) fn contents(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let file = open(path)?;
    let fails = |error: std::io::Error| error.to_string();
    // Allocated at once: a vector that grows takes up to twice as much.
    let length = file.metadata().map_or(0, |like| usize::try_from(like.len()).unwrap_or(usize::MAX));
    let mut bytes = Vec::with_capacity(length.min(max_bytes).saturating_add(1));
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(fails)?;
    if bytes.len() > max_bytes { Err(format!("the file is larger than {max_bytes} bytes")) } else { Ok(bytes) }
}

/// Returns whether this is the content of a file. Reads it piece by piece.
pub(crate) fn holds(path: &Path, expected: &[u8]) -> bool {
    let Ok(mut file) = open(path) else { return false };
    let (mut piece, mut rest) = (vec![0; 64 << 10], expected);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return rest.is_empty(),
            Ok(length) => match rest.strip_prefix(&piece[..length]) {
                Some(left) => rest = left,
                None => return false,
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Opens a regular file, and nothing else.
fn open(path: &Path) -> Result<File, String> {
    let fails = |error: std::io::Error| error.to_string();
    // Opening a pipe would wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(fails)?;
    if file.metadata().map_err(fails)?.is_file() { Ok(file) } else { Err("this is not a file".to_owned()) }
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
        assert!(holds(&file, b"1234") && !holds(&file, b"123") && !holds(&file, b"12345") && !holds(&file, b"1235"));
        assert!(!holds(folder.path(), b""));
        // Neither ends, and the first waits for somebody to write.
        assert!(read(Path::new("/dev/zero"), 3).unwrap_err().ends_with("this is not a file"));
        assert!(read(folder.path(), 3).unwrap_err().ends_with("this is not a file"));
        assert!(read(&folder.path().join("none"), 3).unwrap_err().contains("No such file"));
    }
}
