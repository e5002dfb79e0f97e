//! A gateway of one's own: all that `portcullis` is, and four plugins more.

mod badge;
mod faulty;
mod porter;
mod ticket;

use std::process::ExitCode;

fn main() -> ExitCode {
    let gateway = portcullis::Gateway::new().plugin::<ticket::Ticket>().plugin::<porter::Porter>();
    gateway.plugin::<badge::Badge>().plugin::<faulty::Faulty>().main()
}
