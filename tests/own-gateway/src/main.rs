//! A gateway of one's own: all that `portcullis` is, and three plugins more.

mod badge;
mod porter;
mod ticket;

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::Gateway::new().plugin::<ticket::Ticket>().plugin::<porter::Porter>().plugin::<badge::Badge>().main()
}
