//! `status`: what is valid until when, what is due, and what failed and why.
use super::args::Given;
use super::error::CliError;
use super::session::Session;
pub fn status(_: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    Ok(())
}
