//! Reads the credentials after `Basic` (RFC 7617 section 2): `user-id ":" password` in UTF-8, in Base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroize;

/// The longest user name, in bytes.
pub const USERNAME_MAX_BYTES: usize = 256;

/// The longest password, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 512;

/// The longest of both with the colon between them, in whole groups of three bytes.
const DECODED_MAX_BYTES: usize = (USERNAME_MAX_BYTES + 1 + PASSWORD_MAX_BYTES).next_multiple_of(3);

const ENCODED_MAX_BYTES: usize = DECODED_MAX_BYTES / 3 * 4;

/// A user name and a password that were sent. It is wiped when dropped.
pub(crate) struct Login {
    text: [u8; DECODED_MAX_BYTES],
    colon: usize,
    length: usize,
}

impl Login {
    /// Reads what follows the scheme. Base64 in one spelling only: with its padding (RFC 4648 section 3.2), and without
    /// bits that count for nothing (section 3.5).
    pub(crate) fn parse(token: &[u8]) -> Option<Self> {
        if token.len() > ENCODED_MAX_BYTES {
            return None;
        }
        // From here on what was decoded is wiped, whatever is wrong with it.
        let mut login = Self { text: [0; DECODED_MAX_BYTES], colon: 0, length: DECODED_MAX_BYTES };
        login.length = STANDARD.decode_slice(token, &mut login.text).ok()?;
        let text = str::from_utf8(&login.text[..login.length]).ok()?;
        let (username, password) = text.split_once(':')?;
        if !is_username(username) || !is_password(password.as_bytes()) {
            return None;
        }
        login.colon = username.len();
        Some(login)
    }

    pub(crate) fn username(&self) -> &str {
        str::from_utf8(&self.text[..self.colon]).expect("a part of a text, up to a colon")
    }

    pub(crate) fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..self.length]
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.text[..self.length].zeroize();
    }
}

/// Returns `true` if a client can send this as a user name: 1 to [`USERNAME_MAX_BYTES`] without a colon and without
/// control characters (RFC 7617 section 2).
pub fn is_username(name: &str) -> bool {
    (1..=USERNAME_MAX_BYTES).contains(&name.len())
        && !name.contains(|letter: char| letter == ':' || letter.is_control())
}

/// Returns `true` if a client can send this as a password: 1 to [`PASSWORD_MAX_BYTES`] of UTF-8 without control
/// characters. A colon is nothing special.
pub fn is_password(password: &[u8]) -> bool {
    let text = str::from_utf8(password);
    (1..=PASSWORD_MAX_BYTES).contains(&password.len()) && text.is_ok_and(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests;
