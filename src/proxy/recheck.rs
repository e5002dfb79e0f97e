//! Whether a request that was let in and still lasts would be let in now.
//!
//! It goes the way of a new request, as far as that can be gone without its head: the route, the connection, guards,
//! authentication, restrictions. What cannot be asked again (a guard, whose question is about the head; a policy that
//! cannot tell) is taken to be as it was while its settings are, and for a refusal when they are not.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use portcullis_plugin::{Authentication, Credential, Identity, OpenStream, Reason, UnixTime, Verdict};

use super::{
    authenticate::{merge, objection},
    check,
};
use crate::{
    front::Entered,
    router::{Find, MatchedAgain, request_host_key},
    snapshot::{
        Gate, Mark, Snapshot,
        route::{Alternative, Auth, Authenticator},
    },
    streams::{Basis, Standing, Withdrawn},
    tls::Misdirected,
};

/// Judges requests by one configuration, at one moment. A judgement that has to wait keeps its own.
#[derive(Clone)]
pub(crate) struct Judge {
    snapshot: Arc<Snapshot>,
    now: UnixTime,
    /// The numbers of the credentials, by the address of the counter of their use: that outlives reloads, and is
    /// another one where the secret is. Made when it is first needed, for all moments.
    numbers: Arc<OnceLock<HashMap<usize, usize>>>,
}

/// The reason why a request is not good.
enum Fault {
    Over(Withdrawn),
    Undecided(String),
}

fn over(reason: Reason) -> Fault {
    Fault::Over(Withdrawn::by(reason))
}

fn changed(detail: &str) -> Fault {
    Fault::Over(Withdrawn { detail: Some(detail.into()), ..Withdrawn::by(Reason::PolicyChanged) })
}

/// The upstream was told once who is calling.
fn is_same_caller(then: &Identity, now: &Identity) -> bool {
    let name = |of: &Identity| of.consumer.as_ref().map(|consumer| consumer.name.clone());
    name(then) == name(now) && then.subject == now.subject && then.tenant == now.tenant
}

impl Judge {
    /// Returns a judge by this configuration, now.
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, now: UnixTime::now(), numbers: Arc::default() }
    }

    /// Returns a judge by the same configuration, at this moment.
    #[must_use]
    pub(crate) fn at(&self, now: UnixTime) -> Self {
        Self { now, ..self.clone() }
    }

    /// Judges a request.
    pub(crate) async fn standing(&self, basis: &Basis) -> Standing {
        match self.judge(basis).await {
            Ok(deadline) => Standing::Good(deadline),
            Err(Fault::Over(why)) => Standing::Over(why),
            Err(Fault::Undecided(why)) => Standing::Undecided(why),
        }
    }

    /// Returns the time until which it is good.
    async fn judge(&self, basis: &Basis) -> Result<Option<UnixTime>, Fault> {
        let gate = self.gate(basis)?;
        self.unasked(gate, basis)?;
        let Some(auth) = &gate.auth else { return Ok(None) };
        let identity = self.identity(auth, basis).await?;
        if basis.identity.as_ref().is_some_and(|then| !is_same_caller(then, &identity)) {
            return Err(changed("it would be somebody else's now"));
        }
        self.admits(gate, basis, &identity).await?;
        Ok(identity.deadline())
    }

    /// The request's route, if the request is still its own, on a connection that it may come on.
    fn gate(&self, basis: &Basis) -> Result<&Gate, Fault> {
        let host = basis.host.as_ref().map_or(&b""[..], |host| host.as_bytes());
        let host = request_host_key(host).ok_or_else(|| over(Reason::RouteWithdrawn))?;
        let headers = MatchedAgain::new(basis.headers.as_deref());
        let found = self.snapshot.router.find(&host, basis.uri.path(), &basis.method, &headers);
        if let Some(name) = headers.not_kept() {
            let detail = format!("a route that may be meant has a condition on `{name}`, which was not kept");
            return Err(Fault::Over(Withdrawn {
                detail: Some(detail.into()),
                ..Withdrawn::by(Reason::RouteWithdrawn)
            }));
        }
        let gate = match found {
            Find::Route(index) => &self.snapshot.gates[index],
            Find::NotFound | Find::MethodNotAllowed { .. } => return Err(over(Reason::RouteWithdrawn)),
        };
        if gate.route.record.name != basis.record.name {
            return Err(over(Reason::RouteWithdrawn));
        }
        let entered = basis.connection.as_deref().and_then(Entered::in_digest);
        check::fits(&self.snapshot, entered, gate, &host, self.now).map_err(
            |Misdirected { why, reason }| match reason {
                Some(reason) => over(reason),
                None => changed(why),
            },
        )?;
        if !basis.is_https && check::https_port(&self.snapshot, entered, Some(gate)).is_some() {
            return Err(changed("clients that do not speak TLS are redirected"));
        }
        Ok(gate)
    }

    /// A guard looks at the head, which is gone, and what a request was prepared with is used up: neither is asked
    /// again, and neither may be another one.
    fn unasked(&self, gate: &Gate, basis: &Basis) -> Result<(), Fault> {
        let guards = gate.guard.iter().map(|step| &step.policy);
        for policy in guards.chain(gate.prepare.iter().map(|step| &step.policy)) {
            let (has_same_settings, has_same_files) = self.likeness(policy, &basis.record.passed);
            if !(has_same_settings && has_same_files) {
                let policy = Some(policy.clone());
                return Err(Fault::Over(Withdrawn { policy, ..Withdrawn::by(Reason::PolicyChanged) }));
            }
        }
        Ok(())
    }

    /// Returns whether a policy has the settings, and the files, of one of those before: the one of its name, or else
    /// any.
    fn likeness(&self, policy: &str, before: &[Arc<Mark>]) -> (bool, bool) {
        let Some(now) = self.snapshot.instances.get(policy).map(|instance| &instance.mark) else {
            return (false, false);
        };
        let then = before.iter().find(|then| then.policy == now.policy);
        let then = then.or_else(|| before.iter().find(|then| then.settings == now.settings));
        then.map_or((false, false), |then| (then.settings == now.settings, then.read == now.read))
    }

    /// Returns the caller by the current configuration.
    async fn identity(&self, auth: &Auth, basis: &Basis) -> Result<Arc<Identity>, Fault> {
        let way = basis.granted_by.and_then(|by| basis.record.ways.get(by));
        let (Some(identity), Some(way)) = (&basis.identity, way) else {
            return auth.anonymous.clone().ok_or_else(|| over(Reason::CredentialAbsent));
        };
        let mut fault = changed("no alternative of `auth` takes it");
        for alternative in &auth.alternatives {
            match self.alternative(alternative, way, identity, basis).await {
                Ok(identity) => return Ok(identity),
                Err(undecided @ Fault::Undecided(_)) => fault = undecided,
                // The first that has more to say than that it is another one.
                Err(new) if matches!(&fault, Fault::Over(old) if old.reason == Reason::PolicyChanged) => fault = new,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    /// The same by one alternative. Each of its parts judges what its like found: the policy of the same name, or else
    /// one that says the same, or else the next.
    async fn alternative(
        &self,
        alternative: &Alternative,
        way: &[Arc<Mark>],
        identity: &Arc<Identity>,
        basis: &Basis,
    ) -> Result<Arc<Identity>, Fault> {
        let parts = if identity.parts.is_empty() { std::slice::from_ref(identity) } else { identity.parts.as_slice() };
        if parts.len() != alternative.parts.len() || way.len() != parts.len() {
            return Err(changed("`auth` asks for other credentials together"));
        }
        let mut left: Vec<usize> = (0..parts.len()).collect();
        let mut found = Vec::with_capacity(parts.len());
        for authenticator in &alternative.parts {
            let settings = self.snapshot.instances.get(&*authenticator.policy).map(|instance| instance.mark.settings);
            let by_name = left.iter().position(|at| way[*at].policy == authenticator.policy);
            let by_settings = || left.iter().position(|at| Some(way[*at].settings) == settings);
            let at = left.remove(by_name.or_else(by_settings).unwrap_or(0));
            found.push(self.part(authenticator, &way[at], &parts[at], basis).await?);
        }
        match found.as_slice() {
            [only] => Ok(only.clone()),
            together => merge(together, alternative).map(Arc::new).ok_or_else(|| over(Reason::IdentityConflict)),
        }
    }

    /// Asks one authenticator about an identity that it, or one like it, has found.
    async fn part(
        &self,
        authenticator: &Authenticator,
        mark: &Arc<Mark>,
        identity: &Arc<Identity>,
        basis: &Basis,
    ) -> Result<Arc<Identity>, Fault> {
        let policy = &authenticator.policy;
        let refused =
            |reason, detail: Option<Arc<str>>| Fault::Over(Withdrawn { reason, policy: Some(policy.clone()), detail });
        let route = &*basis.record.name;
        let credentials = identity.credentials.iter().map(|credential| {
            let now = self.credential(credential, policy).ok_or(Reason::CredentialWithdrawn)?;
            now.objection(self.now, route, basis.address).map_or(Ok(now), |denial| Err(denial.reason))
        });
        let credentials = credentials.collect::<Result<Vec<_>, _>>().map_err(|reason| refused(reason, None))?;
        let (has_same_settings, has_same_files) = self.likeness(policy, std::slice::from_ref(mark));
        let stream = OpenStream { has_same_settings, has_same_files, ..self.stream(basis, identity, &credentials) };
        match authenticator.hook.recheck(&stream).get().await {
            Ok(Authentication::Granted(identity) | Authentication::GrantedWith(identity, _)) => {
                match objection(&identity, self.now, route, basis.address) {
                    None => Ok(identity),
                    Some(denial) => Err(refused(denial.reason, None)),
                }
            }
            Ok(Authentication::Denied(denial)) => Err(refused(denial.reason, denial.detail.map(Arc::from))),
            Ok(Authentication::Absent | Authentication::AbsentWith(_)) => Err(refused(Reason::PolicyChanged, None)),
            Err(error) => Err(Fault::Undecided(format!("{policy}: {error}"))),
        }
    }

    /// Returns the current entry of a credential, if it is still there and opens the policy.
    fn credential(&self, then: &Credential, policy: &str) -> Option<Arc<Credential>> {
        let all = &self.snapshot.credentials;
        let numbers = self.numbers.get_or_init(|| {
            let numbered = all.iter().enumerate();
            numbered.map(|(number, credential)| (Arc::as_ptr(&credential.usage).addr(), number)).collect()
        });
        let number = *numbers.get(&Arc::as_ptr(&then.usage).addr())?;
        let opened = self.snapshot.opened.get(policy)?;
        opened.binary_search(&u32::try_from(number).ok()?).ok().map(|_| all[number].clone())
    }

    /// Asks the restrictions.
    async fn admits(&self, gate: &Gate, basis: &Basis, identity: &Arc<Identity>) -> Result<(), Fault> {
        for step in &gate.admit {
            let (has_same_settings, has_same_files) = self.likeness(&step.policy, &basis.record.passed);
            let then = basis.identity.as_ref().unwrap_or(identity);
            let stream =
                OpenStream { has_same_settings, has_same_files, ..self.stream(basis, then, &identity.credentials) };
            match step.hook.recheck(&stream, identity).get().await {
                Ok(Verdict::Allow | Verdict::AllowWith(_)) => {}
                Ok(Verdict::Refuse(refusal)) => {
                    let policy = Some(step.policy.clone());
                    return Err(Fault::Over(Withdrawn { reason: refusal.reason, policy, detail: refusal.detail }));
                }
                Ok(Verdict::Respond(answer)) => {
                    let policy = Some(step.policy.clone());
                    return Err(Fault::Over(Withdrawn { policy, ..Withdrawn::by(answer.reason()) }));
                }
                Err(error) => return Err(Fault::Undecided(format!("{}: {error}", step.policy))),
            }
        }
        Ok(())
    }

    /// The request as policies see it.
    fn stream<'a>(
        &self,
        basis: &'a Basis,
        identity: &'a Arc<Identity>,
        credentials: &'a [Arc<Credential>],
    ) -> OpenStream<'a> {
        let entered = basis.connection.as_deref().and_then(Entered::in_digest);
        let certificate = entered.and_then(|entered| {
            let tls = self.snapshot.settings.tls(entered.listener);
            Some(entered.secured.as_ref()?.certificate(tls, self.now))
        });
        OpenStream {
            identity,
            credentials,
            has_same_settings: false,
            has_same_files: false,
            route: &basis.record.name,
            method: &basis.method,
            path: basis.uri.path(),
            address: basis.address,
            peer: basis.peer,
            certificate: certificate.unwrap_or(Ok(None)),
            now: self.now,
        }
    }
}

#[cfg(test)]
mod tests;
