/// Something outside of a policy that one of its hooks names.
///
/// A plugin is built without knowing the rest of the file. The engine knows it, and looks each mention up whenever a
/// configuration is loaded: a misspelt name in a restriction would keep out everybody, or nobody, without a word. What
/// the file alone brings into being has to be there, or the configuration is refused. A name that may come from
/// elsewhere, or later, is a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The field that names it, such as `allow[1].consumers[0]`.
    pub field: String,
    /// The thing that it names.
    pub of: Mentioned,
}

/// The things that can be mentioned. Claims cannot: they come from tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mentioned {
    /// A consumer, by name.
    Consumer(String),
    /// A credential of any kind, by id.
    Credential(String),
    /// A parameter of the path of every route that uses the policy: `tenant` of `/{tenant}/orders`.
    PathParameter(String),
    /// A group of consumers. A warning where no consumer is in it.
    Group(String),
    /// A label of consumers and its value. A warning where no consumer has it.
    Label(String, String),
    /// A role. A warning where no consumer has it and no policy brings identities from elsewhere.
    Role(String),
    /// A tenant. The same.
    Tenant(String),
    /// A scope. A warning where no credential has it and no policy brings identities from elsewhere.
    Scope(String),
    /// A method of requests. A warning where nobody has registered it.
    Method(String),
}
