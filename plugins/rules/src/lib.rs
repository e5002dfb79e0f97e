//! `rules`: restrictions by expressions on the identity and the request.
//!
//! ```toml
//! plugins = [
//!     { use = "rules", require = [
//!         "identity.tenant == request.path_params.tenant",
//!         "request.method == 'GET' || 'admin' in identity.roles",
//!     ], deny = [
//!         "request.time.getHours('Europe/Berlin') < 6 && !in_network(request.address, '10.0.0.0/8')",
//!     ] },
//! ]
//! ```
//!
//! Every expression of `require` has to be true and every one of `deny` false; anything else refuses the request. The
//! language is CEL (the Common Expression Language), read and checked when the policy is built: an unknown field, a
//! function that does not exist, a text compared with a list are errors there and never a request's.
//!
//! # Fields
//! | `identity.` | |
//! |---|---|
//! | `consumer`, `tenant`, `subject`, `client`, `issuer`, `email`, `method` | texts |
//! | `groups`, `roles`, `scopes`, `credentials` (their ids) | lists of texts, empty where there is nothing |
//! | `labels` | texts by name: `identity.labels.tier` |
//! | `claims` | what the token says: `identity.claims.org.id`, `identity.claims["https://example.com/plan"]` |
//! | `certificate` | what the client's certificate says: `subject`, `cn`, `issuer`, `serial`, `fingerprint` are texts, `dns`, `uris`, `emails` lists |
//!
//! | `request.` | |
//! |---|---|
//! | `method` | as it was sent: a rule about `GET` that is to count for `HEAD` too says so |
//! | `path` | the canonical path |
//! | `host` | in lower case, without port |
//! | `query` | as it was sent; what it means is the upstream's business |
//! | `headers` | what the client sent: `request.headers["x-region"]`; several lines are joined by `, ` |
//! | `path_params` | what stands at `{name}` in the route's path, percent-decoded |
//! | `address` | the client's address, after trusted hops |
//! | `is_https` | whether the client spoke TLS |
//! | `time` | a timestamp: `request.time.getHours()` is UTC, `getHours("Europe/Berlin")` is not |
//!
//! Beside the operators and macros of CEL there are `size`, `contains`, `startsWith`, `endsWith`, `matches` (a literal
//! pattern, found anywhere unless it is anchored), `int`, `uint`, `double`, `string`, `bool`, `timestamp`, `duration`,
//! the parts of times (`getDayOfWeek()`, where 0 is Sunday), and `in_network(address, network)`.
//!
//! Every path of a route has to have the parameters that its rules need; one that an expression asks for with `has` may
//! be absent.
//!
//! # What is not there
//! A field that has no value is an error and not null, so that two absent values are never equal: without a tenant and
//! without that parameter, the first rule above refuses. `has(identity.tenant)` asks first. As in all of CEL, `&&` and
//! `||` pass over an error where their other side decides alone.
//!
//! # Several credentials together
//! Scopes, roles and claims are never added up. In `require`, roles and scopes are those of the credential that speaks for
//! the request, and an expression that mentions a claim has to hold for every token. In `deny` an expression is evaluated
//! for each credential that has what it mentions, and one for which it holds is enough.

#![forbid(unsafe_code)]

mod expression;

use std::sync::Arc;

use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Hooks, Identity, Mention, Mentioned, NoCredential, Plugin, PluginError, Reason,
    Refusal, RequestCx, Verdict,
};
use schemars::JsonSchema;
use serde::Deserialize;

pub use expression::{EVALUATION_MAX_STEPS, EXPRESSION_MAX_BYTES, EXPRESSION_MAX_DEPTH, PATTERN_MAX_BYTES};

use expression::{Effect, Expression};

/// The plugin `rules`.
pub struct Rules;

impl Plugin for Rules {
    const NAME: &'static str = "rules";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let mut problems = Vec::new();
        if config.require.is_none() && config.deny.is_none() {
            problems.push((String::new(), "restricts nothing: it needs `require`, `deny` or both".to_owned()));
        }
        let require = compile("require", config.require, &mut problems);
        let deny = compile("deny", config.deny, &mut problems);
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Hooks::new().admit(Restriction { policy: cx.policy().to_owned(), require, deny }))
    }
}

/// Lets a request pass by expressions in CEL on `identity` and `request`: at least one of `require` and `deny`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// All of these have to be true, such as `"identity.tenant == request.path_params.tenant"`.
    pub require: Option<Vec<String>>,
    /// None of these may be true. One that cannot be evaluated refuses as well.
    pub deny: Option<Vec<String>>,
}

/// Compiles a list of expressions. An empty one is a mistake: it would ask for nothing.
fn compile(field: &str, texts: Option<Vec<String>>, problems: &mut Vec<(String, String)>) -> Vec<Rule> {
    if texts.as_ref().is_some_and(Vec::is_empty) {
        problems.push((field.to_owned(), "is empty: write an expression, or leave it out".to_owned()));
    }
    let mut rules = Vec::new();
    for (index, text) in texts.into_iter().flatten().enumerate() {
        let field = format!("{field}[{index}]");
        match Expression::compile(&text) {
            Ok(expression) => rules.push(Rule { field: field.into(), expression }),
            Err(wrong) => problems.extend(wrong.into_iter().map(|why| (field.clone(), why))),
        }
    }
    rules
}

/// An expression with the field it stands in.
struct Rule {
    field: Arc<str>,
    expression: Expression,
}

/// One policy, ready to judge requests.
struct Restriction {
    policy: String,
    require: Vec<Rule>,
    deny: Vec<Rule>,
}

impl Restriction {
    /// Returns the first rule that refuses the request.
    fn objection(&self, cx: &RequestCx<'_>, identity: &Identity) -> Option<&Rule> {
        let denied = self.deny.iter().find(|rule| !self.says(rule, Effect::Deny, cx, identity));
        denied.or_else(|| self.require.iter().find(|rule| !self.says(rule, Effect::Require, cx, identity)))
    }

    /// Returns `true` if the rule's expression gives the wanted result for every credential that it is about.
    fn says(&self, rule: &Rule, effect: Effect, cx: &RequestCx<'_>, identity: &Identity) -> bool {
        let wanted = effect == Effect::Require;
        rule.expression.parts(identity, effect).all(|part| {
            let said = rule.expression.evaluate(cx, identity, part, effect);
            if let Err(why) = &said {
                // The reason that is counted is one for all rules. The problem of this one goes to the log, without any
                // value: it may be personal, or secret.
                let (policy, field) = (self.policy.as_str(), &rule.field);
                log::info!(request_id = cx.request_id(), policy, route = cx.route(); "a rule refused: {field}: {why}");
            }
            said.is_ok_and(|said| said == wanted)
        })
    }
}

impl Admit for Restriction {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        let refuse = |rule: &Rule| Verdict::Refuse(Refusal::forbidden(Reason::RuleDenied).detailed(rule.field.clone()));
        Answer::Now(Ok(self.objection(cx, identity).map_or(Verdict::Allow, refuse)))
    }

    /// A rule about a parameter that no path has would refuse every request.
    fn mentions(&self) -> Vec<Mention> {
        let rules = self.require.iter().chain(&self.deny);
        let parameters = rules.flat_map(|rule| rule.expression.path_parameters().map(move |name| (rule, name)));
        let mention = |(rule, name): (&Rule, &str)| Mention {
            field: rule.field.to_string(),
            of: Mentioned::PathParameter(name.to_owned()),
        };
        parameters.map(mention).collect()
    }
}

#[cfg(test)]
mod tests;
