//! Reads secrets. A source that does not resolve is an error, and so is an empty secret.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use portcullis_plugin::{Secret, SecretSource};

use crate::{
    files,
    unit::{Source, Unit},
};

/// The longest secret that a file may hold. The longest private keys have some 13 KB.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// Reads secrets and files for one run.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    folder: PathBuf,
    is_absent_fine: bool,
    /// The unit whose service the configuration is for, where this process is not that service.
    unit: Option<Arc<Unit>>,
    /// The secrets read so far that the service got at its start. Clones share it.
    of_start: Arc<Mutex<BTreeSet<OfTheStart>>>,
}

/// A secret that the service gets when it starts, and that cannot change until it ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OfTheStart {
    /// A systemd credential of this name.
    Credential(String),
    /// An environment variable of this name.
    Variable(String),
}

impl fmt::Display for OfTheStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "the systemd credential `{}`", name.escape_debug()),
            Self::Variable(name) => write!(f, "the environment variable `{}`", name.escape_debug()),
        }
    }
}

impl OfTheStart {
    /// Returns the file whose content differs from the value that the service got at its start, as far as that can be
    /// seen.
    fn changed_in(&self, unit: &Unit) -> Option<PathBuf> {
        match self {
            Self::Credential(name) => {
                let Source::File(source) = unit.credential(name)? else { return None };
                let given = files::contents(&credential_path(name).ok()?, MAX_SECRET_BYTES).ok()?;
                let now = files::contents(&source, MAX_SECRET_BYTES).ok()?;
                (given != now).then_some(source)
            }
            Self::Variable(name) => {
                let (now, file) = unit.variable(name)?;
                let given = std::env::var_os(name)?;
                (given.as_encoded_bytes() != now.as_bytes()).then_some(file)
            }
        }
    }
}

impl Secrets {
    /// Relative paths start at `folder`. With `is_absent_fine` (`check --no-secrets`) nothing is read and every secret
    /// is a placeholder, so that a CI machine can check a configuration without having its secrets.
    pub(crate) fn new(folder: &Path, is_absent_fine: bool) -> Self {
        Self { folder: folder.to_owned(), is_absent_fine, unit: None, of_start: Arc::default() }
    }

    /// Reads secrets that this process was not given from where the unit gets them for its service.
    #[must_use]
    pub(crate) fn given_by(self, unit: Option<Unit>) -> Self {
        Self { unit: unit.map(Arc::new), ..self }
    }

    /// Returns whether this run reads no secrets, nor anything else that only the real machine has.
    pub(crate) fn is_absent_fine(&self) -> bool {
        self.is_absent_fine
    }

    /// Resolves a path relative to the configuration's folder.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Returns those of the secrets read so far that the service got at its start.
    pub(crate) fn of_the_start(&self) -> BTreeSet<OfTheStart> {
        self.of_start.lock().clone()
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// Returns why it cannot be read. The message names the source, never the value.
    pub(crate) fn read(&self, source: &SecretSource) -> Result<Secret, String> {
        if self.is_absent_fine && !matches!(source, SecretSource::Value(_)) {
            // As long as the longest secret required: that of HS512 (RFC 7518 section 3.2).
            return Ok(Secret::new(
                b"a placeholder of `check --no-secrets`, and as long as a secret has to be".to_vec(),
            ));
        }
        let secret = match source {
            SecretSource::Value(secret) => secret.clone(),
            SecretSource::Env(name) => self.variable(name)?,
            SecretSource::File(path) => file(&self.path(path))?,
            SecretSource::Credential(name) => self.credential(name)?,
        };
        if secret.expose().is_empty() { Err("the secret is empty".to_owned()) } else { Ok(secret) }
    }

    fn variable(&self, name: &str) -> Result<Secret, String> {
        if let Some(value) = std::env::var_os(name) {
            self.of_start.lock().insert(OfTheStart::Variable(name.to_owned()));
            return Ok(Secret::new(value.into_encoded_bytes()));
        }
        let given = self.unit.as_ref().and_then(|unit| unit.variable(name));
        let (value, _) = given.ok_or_else(|| match &self.unit {
            None => format!("the environment variable `{name}` is not set"),
            Some(unit) => {
                format!(
                    "the environment variable `{name}` is not set, nor in an `EnvironmentFile=` of {} that can be read",
                    unit.name
                )
            }
        })?;
        Ok(Secret::new(value.into_bytes()))
    }

    fn credential(&self, name: &str) -> Result<Secret, String> {
        let path = match (credential_path(name), &self.unit) {
            (Ok(path), _) => {
                self.of_start.lock().insert(OfTheStart::Credential(name.to_owned()));
                path
            }
            (Err(CredentialError::NoService), Some(unit)) => source(name, unit)?,
            (Err(error), _) => return Err(error.to_string()),
        };
        file(&path)
    }
}

/// Returns the secrets that have changed since the service got them: each as a sentence for the operator.
pub(crate) fn changed_since_start(secrets: &BTreeSet<OfTheStart>, unit: &Unit) -> Vec<String> {
    let changed = secrets.iter().filter_map(|secret| Some((secret, secret.changed_in(unit)?)));
    let told = changed.map(|(secret, file)| {
        let (file, service) = (file.display(), &unit.name);
        format!(
            "`{file}` has changed, but {secret} was read when the service started and stays as it was: \
             `systemctl restart {service}` takes the new one"
        )
    });
    told.collect()
}

/// Returns the file that systemd would take a credential from for the service.
fn source(name: &str, unit: &Unit) -> Result<PathBuf, String> {
    match unit.credential(name) {
        Some(Source::File(path)) => Ok(path),
        Some(Source::Elsewhere(setting)) => Err(format!(
            "the systemd credential `{name}` cannot be judged outside of the service: {} has `{setting}`; \
             --no-secrets checks all the rest",
            unit.name
        )),
        None => Err(format!("the unit {} has no `LoadCredential={name}:...`", unit.name)),
    }
}

/// Reads a secret's file, without the one newline that editors put at the end.
fn file(path: &Path) -> Result<Secret, String> {
    let mut bytes = files::read(path, MAX_SECRET_BYTES)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(Secret::new(bytes))
}

/// The reasons why a credential has no path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The name is not valid for a credential.
    #[error("`{0}` is not the name of a credential")]
    Name(String),
    /// This process was given no credentials.
    #[error("there are no systemd credentials: the unit needs `LoadCredential=`")]
    NoService,
}

/// Returns `$CREDENTIALS_DIRECTORY/name` (systemd.exec(5), "Credentials").
pub(crate) fn credential_path(name: &str) -> Result<PathBuf, CredentialError> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(CredentialError::Name(name.to_owned()));
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(CredentialError::NoService)?;
    Ok(PathBuf::from(folder).join(name))
}
