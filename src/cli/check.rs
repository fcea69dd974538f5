//! `check`
use super::args::Given;
use super::error::CliError;
use super::session::Session;
pub fn check(_: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    Ok(())
}
