use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::config::Report;

/// The default path of the configuration.
const DEFAULT_CONFIG: &str = "/etc/portcullis/portcullis.toml";

/// The path of the configuration.
#[derive(clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
}

impl ConfigArgument {
    /// Returns the file; if none was named and there is none in the default place, the error says that.
    pub(super) fn file(&self) -> Result<&Path, Failure> {
        if self.config == Path::new(DEFAULT_CONFIG) && !self.config.exists() {
            return Err(
                Report::of_file(&self.config, "there is no such file: name the configuration with -c FILE").into()
            );
        }
        Ok(&self.config)
    }
}
