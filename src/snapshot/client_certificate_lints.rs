//! Warnings about policies for client certificates that no listener asks for, or that listeners verify with different
//! CAs: they seem to protect, but do not as intended.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::instance::Instance;
use crate::config::{Configuration, Problems, file};

/// Warns of such policies.
pub(super) fn check(configuration: &Configuration<'_>, instances: &[Option<Arc<Instance>>], problems: &mut Problems) {
    let asking = asking(configuration);
    let cas: BTreeMap<BTreeSet<PathBuf>, &[PathBuf]> = asking
        .iter()
        .filter_map(|clients| clients.client_ca.as_ref())
        .map(|files| (files.0.iter().map(|file| real(configuration, file)).collect(), files.0.as_slice()))
        .collect();
    for (policy, instance) in configuration.policies.iter().zip(instances) {
        let hook = instance.as_ref().and_then(|instance| instance.hooks.authenticate.as_ref());
        let Some(hook) = hook.filter(|hook| hook.needs_certificate()) else { continue };
        if asking.is_empty() {
            let text = "this needs client certificates, and no listener asks for one: see `client_auth`";
            policy.warn(problems, text);
        } else if hook.believes_listeners() && cas.len() > 1 {
            let text = format!(
                "this has no `ca` of its own, and listeners trust different ones ({}): each CA can issue \
                 certificates for the others' clients",
                cas.values().map(|files| shown(files)).collect::<Vec<_>>().join("; ")
            );
            policy.warn(problems, text);
        }
    }
}

/// Returns the settings of all listeners and names that ask for certificates.
fn asking<'c>(configuration: &'c Configuration<'_>) -> Vec<&'c file::Clients> {
    let listeners = configuration.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let clients =
        listeners.flat_map(|tls| std::iter::once(&tls.clients).chain(tls.names.iter().map(|(_, clients)| clients)));
    clients.map(|clients| &clients.file).filter(|clients| clients.client_auth != file::ClientAuth::Off).collect()
}

/// Returns the real path of a file, whatever name it is referred to by.
fn real(configuration: &Configuration<'_>, file: &Path) -> PathBuf {
    let path = configuration.secrets.path(file);
    path.canonicalize().unwrap_or(path)
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ")
}
