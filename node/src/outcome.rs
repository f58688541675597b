//! How a command ends: the exit codes of the public contract (section 5).
//!
//! 0 done, 1 refused or failed, 2 wrong usage, 3 the node could not be reached. The reason goes to
//! stderr as one block that starts with `manifold:`; nothing is printed for success.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The node refused, or something failed on the way (exit code 1).
    Failed(anyhow::Error),
    /// The command line asks for something that does not exist (exit code 2).
    Usage(String),
    /// No node answered (exit code 3).
    Unreachable(String),
}

impl Failure {
    /// A failure with a message of its own.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::Failed(anyhow::anyhow!("{message}"))
    }

    /// The exit code of the contract.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// The reason on one line, causes included.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Failed(error) => chain(error),
            Self::Usage(message) | Self::Unreachable(message) => message.clone(),
        }
    }
}

/// Every cause once: some errors name their cause themselves.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// What a command returns.
pub(crate) type Outcome = Result<(), Failure>;

/// Tells the reason of a failure and gives the exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A closed stderr must not turn one failure into another.
            let _ = writeln!(std::io::stderr(), "manifold: {}", failure.reason());
            ExitCode::from(failure.code())
        }
    }
}

/// Writes to stdout; a reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn each_failure_has_the_code_of_the_contract() {
        assert_eq!(Failure::failed("x").code(), 1);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::Unreachable(String::new()).code(), 3);
    }

    #[test]
    fn the_reason_names_what_failed_and_why() {
        let io = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(io).context("cannot open the store").unwrap_err();
        assert_eq!(Failure::from(error).reason(), "cannot open the store: disk on fire");
        let twice = anyhow::anyhow!("disk on fire").context("cannot read x: disk on fire");
        assert_eq!(Failure::from(twice).reason(), "cannot read x: disk on fire");
    }
}
