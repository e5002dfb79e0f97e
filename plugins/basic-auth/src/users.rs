use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hint::black_box,
    sync::Arc,
};

use hmac::{Hmac, Mac};
use portcullis_plugin::{BuildCx, Credential, Identity, UnixTime};
use sha2::{Digest, Sha256};

use crate::{PasswordEntry, PasswordHash, hash::Fingerprint, login::Login};

/// The most hashes of one user name: all of them are computed for a wrong password.
pub const HASHES_PER_USERNAME_MAX: usize = 4;

/// Everyone who can open a policy. Filled from the configuration, and then only read.
pub(crate) struct Users {
    by_name: HashMap<Box<str>, usize>,
    users: Vec<Vec<Entry>>,
    /// Picks a user for a name that nobody has.
    picks: Hmac<Sha256>,
    /// The hash that is computed where there are no users at all.
    nobody: PasswordHash,
}

/// One password of a user.
struct Entry {
    hash: PasswordHash,
    identity: Arc<Identity>,
}

impl Users {
    /// Reads the credentials, and reports those that cannot be told apart.
    pub(crate) fn new(username_is_subject: bool, cx: &mut BuildCx<'_>) -> Self {
        let mut by_name = BTreeMap::<String, Vec<(Arc<Credential>, PasswordHash)>>::new();
        for (index, credential, own) in cx.credentials::<PasswordEntry>() {
            let same = by_name.entry(own.username.as_str().to_owned()).or_default();
            match objection(same, &credential) {
                Some(why) => cx.credential_problem(index, "username", why),
                None => same.push((credential, own.password_hash.clone())),
            }
        }
        let entry = |name: &str, (credential, hash): (Arc<Credential>, PasswordHash)| {
            let mut identity = Identity::of_client(&credential);
            identity.subject = username_is_subject.then(|| name.to_owned());
            Entry { hash, identity: Arc::new(identity) }
        };
        let mut names = HashMap::with_capacity(by_name.len());
        let mut users = Vec::with_capacity(by_name.len());
        for (name, mut entries) in by_name {
            // A password that was hashed anew has two entries: of those that fit, the one that ends last counts.
            entries.sort_by_key(|(credential, _)| {
                let ends = credential.limits.expires.unwrap_or(UnixTime(i64::MAX));
                (credential.limits.disabled, Reverse(ends))
            });
            users.push(entries.into_iter().map(|one| entry(&name, one)).collect());
            names.insert(name.into_boxed_str(), users.len() - 1);
        }
        Self { picks: picks(&users), by_name: names, users, nobody: PasswordHash::of_nobody() }
    }

    /// Returns the identity and the hash of a login. For a wrong password all hashes of the user are computed, and for
    /// a name that nobody has those of somebody: each call of `count` is one.
    pub(crate) fn verify(&self, login: &Login, count: impl Fn()) -> Option<(Arc<Identity>, Fingerprint)> {
        let fits = |hash: &PasswordHash| {
            count();
            hash.verify(login.password())
        };
        let Some(user) = self.by_name.get(login.username()) else {
            self.decoys(login.username()).for_each(|decoy| _ = black_box(fits(&decoy)));
            return None;
        };
        let entry = self.users[*user].iter().find(|entry| fits(&entry.hash))?;
        Some((entry.identity.clone(), *entry.hash.fingerprint()))
    }

    /// Returns the identity that a hash which fitted this user stands for now, if the user still has it.
    pub(crate) fn identity(&self, username: &str, fingerprint: &Fingerprint) -> Option<Arc<Identity>> {
        let user = self.by_name.get(username)?;
        let entry = self.users[*user].iter().find(|entry| entry.hash.fingerprint() == fingerprint)?;
        Some(entry.identity.clone())
    }

    /// Hashes that cost what those of some user do, always the same one for one name. Picked with a key that comes from
    /// the hashes themselves, it stays the same over a restart: would it change, and the times of real names not, they
    /// could be told apart by that.
    fn decoys(&self, username: &str) -> impl Iterator<Item = PasswordHash> {
        let random: [u8; 32] = self.picks.clone().chain_update(username).finalize().into_bytes().into();
        let number = u64::from_be_bytes(*random.first_chunk().expect("8 of 32 bytes"));
        let user = number.checked_rem(self.users.len() as u64).and_then(|at| self.users.get(usize::try_from(at).ok()?));
        let hashes = user.into_iter().flatten().map(|entry| &entry.hash);
        hashes.chain(user.is_none().then_some(&self.nobody)).map(move |hash| hash.decoy(&random))
    }
}

/// Returns the reason why a credential cannot share the user name of these others.
fn objection(same: &[(Arc<Credential>, PasswordHash)], credential: &Credential) -> Option<String> {
    let (first, _) = same.first()?;
    if first.consumer.name != credential.consumer.name {
        return Some(format!("is a user name of the consumer `{}` already", first.consumer.name));
    }
    let is_full = same.len() >= HASHES_PER_USERNAME_MAX;
    is_full.then(|| format!("has {HASHES_PER_USERNAME_MAX} passwords already, all of which are tried: remove old ones"))
}

fn picks(users: &[Vec<Entry>]) -> Hmac<Sha256> {
    let hashes = users.iter().flatten().map(|entry| entry.hash.fingerprint());
    let secret = hashes.fold(Sha256::new(), Sha256::chain_update).finalize();
    Hmac::new_from_slice(&secret).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests;
