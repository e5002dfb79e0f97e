use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::config::Report;

/// Where the configuration is, unless the command line says.
const DEFAULT_CONFIG: &str = "/etc/portcullis/portcullis.toml";

/// Where the configuration is.
#[derive(clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
}

impl ConfigArgument {
    /// The file; where nobody named one, and there is none in the usual place, that is what has to be said.
    pub(super) fn file(&self) -> Result<&Path, Failure> {
        if self.config == Path::new(DEFAULT_CONFIG) && !self.config.exists() {
            return Err(
                Report::of_file(&self.config, "there is no such file: name the configuration with -c FILE").into()
            );
        }
        Ok(&self.config)
    }
}
