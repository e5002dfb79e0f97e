use super::{config_argument::ConfigArgument, failure::Failure};
use crate::{
    gateway::{self, StartError},
    registry::Registry,
};

/// `portcullis run`.
pub(super) fn run(arguments: &ConfigArgument, registry: Registry) -> Result<(), Failure> {
    gateway::run(arguments.file()?, registry).map_err(|error| match error {
        StartError::Configuration(report) => Failure::Configuration(report),
        StartError::System(..) => Failure::Other(error.to_string()),
    })
}
