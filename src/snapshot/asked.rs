//! Whether the listeners ask for the client certificates that policies go by, and ask them as those policies take for
//! granted: what looks as if it protected, and does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::instance::Instance;
use crate::config::{Configuration, Problems, file};

/// Warns of what is hardly meant.
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
            let text = "this goes by client certificates, and no listener asks for one: see `client_auth`";
            policy.warn(problems, text);
        } else if hook.believes_listeners() && cas.len() > 1 {
            let text = format!(
                "this has no `ca` of its own, and listeners believe different ones ({}): each can name the others' clients",
                cas.values().map(|files| shown(files)).collect::<Vec<_>>().join("; ")
            );
            policy.warn(problems, text);
        }
    }
}

/// What holds for clients wherever they are asked for a certificate.
fn asking<'c>(configuration: &'c Configuration<'_>) -> Vec<&'c file::Clients> {
    let listeners = configuration.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let clients =
        listeners.flat_map(|tls| std::iter::once(&tls.clients).chain(tls.names.iter().map(|(_, clients)| clients)));
    clients.map(|clients| &clients.file).filter(|clients| clients.client_auth != file::ClientAuth::Off).collect()
}

/// A file, by whatever name it is called.
fn real(configuration: &Configuration<'_>, file: &Path) -> PathBuf {
    let path = configuration.secrets.path(file);
    path.canonicalize().unwrap_or(path)
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ")
}
