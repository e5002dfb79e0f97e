use clap::CommandFactory;

use super::{Cli, Failure};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Which shell.
    shell: clap_complete::Shell,
}

/// `portcullis completions bash`.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "portcullis", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}
