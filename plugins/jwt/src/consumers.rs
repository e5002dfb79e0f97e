//! Finds the consumer of a token among the credentials.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use portcullis_jose::claims::Path;
use portcullis_plugin::{BuildCx, Claims, Credential, serde_json::Value};

use crate::{
    config::{By, ConsumerBy, Holder},
    mapping::MappedClaims,
};

/// The part of an issuer's tokens that names their consumer, and the credentials that are known by it.
pub(crate) struct Consumers {
    by: By,
    claim: Option<Path>,
    pub(crate) is_required: bool,
    known: HashMap<String, Arc<Credential>>,
}

impl Consumers {
    /// Makes an empty set. `is_required` is the setting in the file; unless set, a consumer is required where the file
    /// says how to find consumers.
    pub(crate) fn new(said: Option<ConsumerBy>, is_required: Option<bool>) -> Self {
        let is_required = is_required.unwrap_or(said.is_some());
        let ConsumerBy { by, claim } = said.unwrap_or_default();
        Self { by, claim, is_required, known: HashMap::new() }
    }

    /// Returns the credential that a token belongs to.
    pub(crate) fn of(&self, said: &MappedClaims, claims: &Claims) -> Option<&Arc<Credential>> {
        let name = match self.by {
            By::Subject => said.subject.as_deref(),
            By::Client => said.client.as_deref(),
            By::Claim => self.claim.as_ref().and_then(|path| path.get(claims)).and_then(Value::as_str),
        };
        self.known.get(name?)
    }

    /// Adds a credential; the error has the field for which it could never be found, and the reason.
    fn add(&mut self, credential: &Arc<Credential>, holder: &Holder) -> Result<(), (&'static str, String)> {
        let (field, name) = self.name_in(holder)?;
        if name.is_empty() {
            return Err((field, "is empty: no token would fit".to_owned()));
        }
        match self.known.entry(name.to_owned()) {
            Entry::Vacant(entry) => _ = entry.insert(credential.clone()),
            Entry::Occupied(entry) => {
                return Err((field, format!("the credential `{}` takes the same tokens", entry.get().id)));
            }
        }
        Ok(())
    }

    /// Returns the field that names the holder, and its value.
    fn name_in<'h>(&self, holder: &'h Holder) -> Result<(&'static str, &'h str), (&'static str, String)> {
        let said = [
            (By::Subject, "subject", holder.subject.as_deref()),
            (By::Client, "client_id", holder.client_id.as_deref()),
            (By::Claim, "claim", holder.claim.as_ref().map(|claim| claim.value.as_str())),
        ];
        let mut given = said.into_iter().filter_map(|(by, field, name)| Some((by, field, name?)));
        let wanted = said.iter().find(|(by, ..)| *by == self.by).map_or("", |(_, field, _)| field);
        let missing = || (wanted, "is missing: the policy finds consumers by it (`consumer.by`)".to_owned());
        let (by, field, name) = given.next().ok_or_else(missing)?;
        if let Some((_, other, _)) = given.next() {
            return Err((other, format!("stands beside `{field}`: one of them is enough")));
        }
        if by != self.by {
            return Err((field, format!("is not what the policy finds consumers by: that is `{wanted}`")));
        }
        let path = holder.claim.as_ref().map(|claim| &claim.path);
        if path.is_some() && path != self.claim.as_ref() {
            return Err((
                "claim.path",
                "is not the claim that the policy finds consumers by (`consumer.claim`)".to_owned(),
            ));
        }
        Ok((field, name))
    }
}

/// Gives every credential of the policy to the issuer it names. `issuers` are their names, in the order of `consumers`;
/// `None` where the policy does not look at `iss`.
pub(crate) fn distribute(cx: &mut BuildCx<'_>, issuers: &[Option<String>], consumers: &mut [Consumers]) {
    for (index, credential, holder) in cx.credentials::<Holder>() {
        let added = place(&holder, issuers).and_then(|issuer| consumers[issuer].add(&credential, &holder));
        if let Err((field, why)) = added {
            cx.credential_problem(index, field, why);
        }
    }
}

/// Returns the index of the issuer that a credential is about.
fn place(holder: &Holder, issuers: &[Option<String>]) -> Result<usize, (&'static str, String)> {
    let wrong = |why: &str| Err(("issuer", why.to_owned()));
    match (&holder.issuer, issuers) {
        (None, [_]) => Ok(0),
        (None, _) => wrong("is missing: the policy knows several issuers"),
        (Some(_), [None]) => wrong("has no use: the policy does not look at issuers (`any_issuer`)"),
        (Some(_), _) => match issuers.iter().position(|known| *known == holder.issuer) {
            Some(found) => Ok(found),
            None => wrong("is no issuer of the policy"),
        },
    }
}
