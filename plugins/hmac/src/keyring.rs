//! The keys of one policy, by the names that signatures have for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    sync::Arc,
};

use portcullis_plugin::{BuildCx, Identity, Proof};

use crate::{
    body::Hash,
    credential::{NamedKey, SigningCredential},
    key::SigningKey,
    scheme::Scheme,
};

/// The most keys that are tried for one signature: those of one name, or all where signatures name none.
pub(crate) const KEYS_TRIED_MAX: usize = 16;

/// A key and who proves themselves by it.
pub(crate) struct KnownKey {
    pub key: SigningKey,
    pub identity: Arc<Identity>,
}

/// The key that an identity was proven by, as it is kept with the identity.
#[derive(PartialEq, Eq)]
pub(crate) struct MadeWith {
    key_id: String,
    digest: Vec<u8>,
}

/// Filled once from the configuration, and then only read.
pub(crate) struct Keyring {
    /// Keys of one name stand together.
    keys: Vec<KnownKey>,
    by_id: HashMap<String, Range<usize>>,
    names_key: bool,
}

impl Keyring {
    /// Makes a ring of the credentials that open the policy. Problems are reported at the credential.
    pub(crate) fn new(scheme: &dyn Scheme, cx: &mut BuildCx<'_>) -> Self {
        let mut named: Vec<(usize, String, KnownKey)> = Vec::new();
        let mut secrets = Secrets::default();
        for (index, credential, own) in cx.credentials::<SigningCredential>() {
            let NamedKey { key_id, key } = match own.key(&credential.id, scheme, cx) {
                Ok(named) => named,
                Err((field, why)) => {
                    cx.credential_problem(index, field, why);
                    continue;
                }
            };
            if let Some(first) = secrets.first_with(&key, &credential.id) {
                cx.credential_problem(index, "secret", format!("the credential `{first}` has the same secret"));
            }
            let proof = Proof::new(MadeWith { key_id: key_id.clone(), digest: key.digest() });
            let identity = Arc::new(Identity { proof, ..Identity::of_client(&credential) });
            named.push((index, key_id, KnownKey { key, identity }));
        }
        named.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
        Self::of(named, scheme.names_key(), cx)
    }

    fn of(named: Vec<(usize, String, KnownKey)>, names_key: bool, cx: &mut BuildCx<'_>) -> Self {
        let mut keys: Vec<KnownKey> = Vec::with_capacity(named.len());
        let mut by_id: HashMap<String, Range<usize>> = HashMap::with_capacity(named.len());
        for (index, key_id, key) in named {
            let at = keys.len();
            let range = by_id.entry(key_id).or_insert(at..at);
            if keys[range.clone()].first().is_some_and(|first| first.identity.consumer != key.identity.consumer) {
                let why = "another consumer has a key of this name: whose signature it is could not be told";
                cx.credential_problem(index, "key_id", why);
            }
            range.end = at + 1;
            if range.len() > KEYS_TRIED_MAX || (!names_key && at >= KEYS_TRIED_MAX) {
                let why = format!("is one too many: at most {KEYS_TRIED_MAX} keys are tried for a signature");
                cx.credential_problem(index, "", why);
            }
            keys.push(key);
        }
        Self { keys, by_id, names_key }
    }

    /// Returns the identity that the key which proved `identity` stands for now, if it is still there: by the same
    /// name, with the same secret.
    pub(crate) fn find_again(&self, identity: &Identity) -> Option<&Arc<Identity>> {
        let made_with = identity.proof.get::<MadeWith>()?;
        let named = self.keys[self.by_id.get(&made_with.key_id)?.clone()].iter();
        named.map(|known| &known.identity).find(|now| now.proof.get() == Some(made_with))
    }

    /// The keys that may have made a signature: those of the name that it gives, or all of them where it gives none and
    /// there are few. Names are no secrets; that a look-up takes longer for one that is known tells nothing.
    pub(crate) fn find(&self, key_id: Option<&str>) -> &[KnownKey] {
        match key_id {
            Some(_) if !self.names_key => &[],
            Some(key_id) => self.by_id.get(key_id).map_or(&[], |range| &self.keys[range.clone()]),
            None if self.keys.len() <= KEYS_TRIED_MAX => &self.keys,
            None => &[],
        }
    }
}

/// The credentials by the digests of their secrets.
#[derive(Default)]
struct Secrets(HashMap<Vec<u8>, Arc<str>>);

impl Secrets {
    /// Returns the credential that has this secret already, if there is one: with two names for one secret, each could
    /// sign as the other.
    fn first_with(&mut self, key: &SigningKey, id: &Arc<str>) -> Option<Arc<str>> {
        match self.0.entry(Hash::Sha256.of(key.secret()?.expose()).as_ref().to_vec()) {
            Entry::Occupied(first) => Some(first.get().clone()),
            Entry::Vacant(free) => {
                free.insert(id.clone());
                None
            }
        }
    }
}
