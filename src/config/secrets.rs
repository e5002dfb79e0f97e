//! Where secrets are read. An unresolved one is an error; an empty one is unresolved.

use std::path::{Path, PathBuf};

use portcullis_plugin::{Secret, SecretSource};

use crate::files;

/// The longest secret that a file may hold. The longest keys have some 13 KB.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// Reads secrets and files for one run.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
    is_absent_fine: bool,
}

impl Secrets {
    /// Paths that are not absolute start at `folder`. With `is_absent_fine` (`check --no-secrets`) nothing is read and
    /// every secret is a placeholder, so that a CI machine can check a configuration without having its secrets.
    pub fn new(folder: &Path, is_absent_fine: bool) -> Self {
        Self { folder: folder.to_owned(), is_absent_fine }
    }

    /// Whether this run goes without secrets, and so without what else only the real machine has.
    pub fn is_absent_fine(&self) -> bool {
        self.is_absent_fine
    }

    /// A path as the configuration means it.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Reads one.
    ///
    /// # Errors
    /// Why it is not to be had. The message names the place, never the value.
    pub fn read(&self, source: &SecretSource) -> Result<Secret, String> {
        if self.is_absent_fine && !matches!(source, SecretSource::Value(_)) {
            return Ok(Secret::new(b"a placeholder of `check --no-secrets`".to_vec()));
        }
        let secret = match source {
            SecretSource::Value(secret) => secret.clone(),
            SecretSource::Env(name) => Secret::new(
                std::env::var_os(name)
                    .ok_or_else(|| format!("the environment variable `{name}` is not set"))?
                    .into_encoded_bytes(),
            ),
            SecretSource::File(path) => self.file(&self.path(path))?,
            SecretSource::Credential(name) => self.file(&credential_path(name)?)?,
        };
        if secret.expose().is_empty() { Err("the secret is empty".to_owned()) } else { Ok(secret) }
    }

    /// A secret's file, without the one newline that editors put at the end.
    fn file(&self, path: &Path) -> Result<Secret, String> {
        let mut bytes = files::read(path, MAX_SECRET_BYTES)?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        Ok(Secret::new(bytes))
    }
}

/// `$CREDENTIALS_DIRECTORY/name` (systemd.exec(5), "Credentials").
pub(crate) fn credential_path(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(format!("`{name}` is not the name of a credential"));
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
        .ok_or("there are no systemd credentials: the unit needs `LoadCredential=`")?;
    Ok(PathBuf::from(folder).join(name))
}
