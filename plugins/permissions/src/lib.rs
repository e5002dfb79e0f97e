//! `scopes`, `roles` and `claims`: requirements on the identity of a request.
//!
//! ```toml
//! plugins = [
//!     { use = "scopes", any = ["orders:read", "orders:admin"], per_method = [
//!         { methods = ["POST", "PUT"], all = ["orders:write"] },
//!     ] },
//!     { use = "roles", any = ["clerk", "manager"] },
//!     { use = "claims", all = [{ claim = "org.id", equals = "acme" }] },
//! ]
//! ```
//!
//! Every one of `all` is needed, and one of `any`. The lists at the top count whatever the method; an entry of
//! `per_method` asks for more. A method without any requirement is refused: it was probably forgotten, and not meant to
//! be free.
//!
//! Where several credentials came together, only the scopes and roles of the one that speaks count: two tokens that each
//! may do half of a thing may not do it together. Claims bind every token of the request, whoever speaks, and a request
//! without a token fulfils none.

#![forbid(unsafe_code)]

mod claims;
mod need;
mod restriction;
mod roles;
mod scopes;

pub use claims::{Claims, ClaimsConfig};
pub use need::{Config, ForMethods};
pub use roles::{Roles, RolesConfig};
pub use scopes::{Scopes, ScopesConfig};

#[cfg(test)]
mod tests;
