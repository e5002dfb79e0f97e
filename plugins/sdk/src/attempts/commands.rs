//! The commands of the control socket and the part of `/status` of a policy that counts attempts.

use std::{net::IpAddr, sync::Arc};

use super::{counts::Counts, limits::AttemptTable};
use crate::{Answer, BuildCx, Command, CommandError};

/// Registers them.
pub(super) fn register(counts: &Arc<Counts>, limits: AttemptTable, cx: &mut BuildCx<'_>) {
    let of_command = counts.clone();
    let help = "let an address try again, and a principal there (a user or key id)";
    cx.command(Command::new("forget", "ADDRESS [PRINCIPAL]", help, move |arguments| {
        Answer::Now(forget(&of_command, arguments).map(Into::into))
    }));
    let of_command = counts.clone();
    cx.command(Command::new("forget-all", "", "let everybody try again", move |arguments| {
        Answer::Now(match arguments {
            [] => {
                of_command.forget_all();
                Ok("the failed attempts of everybody are forgotten".into())
            }
            _ => Err(CommandError::usage("`forget-all` takes no arguments")),
        })
    }));
    let counts = counts.clone();
    cx.status("attempts", move |rows| {
        let (pairs, addresses) = counts.failing();
        rows.row("principals_with_failures", pairs);
        rows.row("addresses_with_failures", addresses);
        rows.row("policy_failures_forgotten_after_s", counts.policy_left().as_secs());
        rows.row("window", limits.window.to_string());
    });
}

fn forget(counts: &Counts, arguments: &[String]) -> Result<String, CommandError> {
    let (address, principal) = match arguments {
        [address] => (address, None),
        [address, principal] => (address, Some(principal)),
        _ => return Err(CommandError::usage("say an address, and the principal if there is one: 203.0.113.7 alice")),
    };
    let address: IpAddr = address.parse().map_err(|_| CommandError::usage("the first argument is no IP address"))?;
    let address = address.to_canonical();
    let (of_address, of_pair) = counts.forget(&counts.names.who(address, principal.map(String::as_bytes)));
    let pair = principal.map(|principal| format!(", and {of_pair} as `{principal}`")).unwrap_or_default();
    Ok(format!("failed attempts from {address} that are forgotten: {of_address} different ones in all{pair}"))
}
