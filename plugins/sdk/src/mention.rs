/// Something outside of a policy that one of its hooks names.
///
/// A plugin is built without knowing the rest of the file. The engine knows it, looks each mention up whenever a
/// configuration is loaded, and refuses one that names what is not there: a misspelt name in a restriction would keep
/// out everybody, or nobody, without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The field that names it, such as `allow[1].consumers[0]`.
    pub field: String,
    /// What it names.
    pub of: Mentioned,
}

/// What can be mentioned: what the file alone brings into being. Roles, scopes, tenants and claims also come from
/// tokens, and a group may be made before its first member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mentioned {
    /// A consumer, by name.
    Consumer(String),
    /// A credential of any kind, by id.
    Credential(String),
    /// A parameter of the path of every route that uses the policy: `tenant` of `/{tenant}/orders`.
    PathParameter(String),
}
