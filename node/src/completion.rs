//! `manifold completion <shell>`: a script that completes commands, flags, resources, verbs and fields.

use crate::cli::{Cli, CompletionArgs};
use crate::ctl::operations;
use crate::fields::catalogue;
use crate::outcome::{Outcome, print};
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory as _};

/// Runs the command.
pub(crate) fn run(args: &CompletionArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "manifold", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The command line with the catalogue as commands below `ctl`: so the shells learn it, while `ctl` itself takes any
/// resource and verb that a node may know.
fn command() -> Command {
    Cli::command().mut_subcommand("ctl", |ctl| {
        let flags: Vec<Arg> =
            ctl.get_arguments().filter(|it| !it.is_positional()).cloned().collect();
        // A dollar sign is the shells' own.
        let resources = catalogue().iter().filter(|it| !it.resource.starts_with('$'));
        ctl.disable_help_subcommand(true).subcommands(resources.map(|resource| {
            let verbs = resource.operations.iter().map(|operation| {
                let words = operations::keys(operation).into_iter().map(|key| format!("{key}="));
                let words = PossibleValuesParser::new(words.collect::<Vec<_>>());
                let fields = Arg::new("fields").num_args(0..).value_parser(words);
                Command::new(operation.verb)
                    .about(operation.description)
                    .disable_help_flag(true)
                    .args(flags.clone())
                    .arg(fields)
            });
            let about = resource.description;
            Command::new(resource.resource)
                .about(about)
                .disable_help_subcommand(true)
                .subcommands(verbs)
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::Shell;

    #[test]
    fn every_shell_learns_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "manifold", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["connections", "disconnect", "--request-id", "thing=", "completion"] {
                let word = if shell == Shell::Fish { word.trim_start_matches("--") } else { word };
                // fish has no possible values of positional words.
                let is_there = script.contains(word) || word == "thing=" && shell != Shell::Bash;
                assert!(is_there, "{shell}: {word}");
            }
        }
    }
}
