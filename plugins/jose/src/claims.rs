//! Claims by path, and rules on them.
//!
//! ```toml
//! rules = [
//!     { claim = "email_verified", equals = true },
//!     { claim = "realm_access.roles", contains_any = ["admin", "operator"] },
//!     { claim = "/https:~1~1example.com~1plan", one_of = ["gold", "silver"] },
//!     { claim = "email", matches = "[^@]+@example\\.com" },
//!     { claim = "act", absent = true },
//! ]
//! ```

mod path;
mod rule;

pub use path::{MAX_PATH_BYTES, MAX_PATH_NAMES, Path};
pub use rule::{Condition, MAX_PATTERN_BYTES, MAX_PATTERN_PROGRAM_BYTES, Rule, Scalar};

#[cfg(test)]
mod tests;
