//! A gateway of one's own: all that `portcullis` is, and seven plugins more.

mod answerer;
mod badge;
mod escort;
mod faulty;
mod login;
mod porter;
#[cfg(test)]
mod tests;
mod ticket;

use std::process::ExitCode;

fn main() -> ExitCode {
    let gateway = portcullis::Gateway::new().plugin::<ticket::Ticket>().plugin::<porter::Porter>();
    let gateway = gateway.plugin::<badge::Badge>().plugin::<faulty::Faulty>();
    gateway.plugin::<login::Login>().plugin::<escort::Escort>().plugin::<answerer::Answerer>().main()
}
