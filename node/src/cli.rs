//! The command line, as data for clap, with the help texts that people read.
//!
//! Contract section 5. Wrong usage ends with exit code 2 (clap's own); everything else is decided
//! by the command's module.

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use proto::TenantId;
use std::path::PathBuf;

/// Manifold: machines, devices and apps on one Unified Namespace.
#[derive(Debug, Parser)]
#[command(name = "manifold", version, arg_required_else_help = true)]
#[command(about = "Manifold: machines, devices and apps on one Unified Namespace")]
#[command(after_help = "Try it:  manifold demo\nRun it:  manifold serve --data /var/lib/manifold")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Run a hub with a simulated plant on loopback and print commands to try
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Ask a running node: its operator's command line
    #[command(after_help = CTL_EXAMPLES, disable_help_flag = true)]
    Ctl(CtlArgs),
    /// Print a script that completes commands, resources, verbs and fields in a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    /// Make a backup of a store that no node has open
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArgs),
    /// Make a store of a backup, or check one
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Check a configuration without running it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
}

/// Where the configuration comes from; later ones win: file, environment, `--set`.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML); without one every value has its default
    #[arg(long, value_name = "FILE", env = "MANIFOLD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// One value, such as listen.mqtt=0.0.0.0:1883; wins over file and environment
    #[arg(long = "set", value_name = "KEY=VALUE", num_args = 1..)]
    pub(crate) settings: Vec<String>,
}

/// `manifold serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Where the node keeps its state; the same as --set data.dir=DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// `manifold demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the demo's state here; without it a temporary directory is used and removed
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Added to the ports 1883, 8083, 8080 and 5020
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_offset: u16,
    /// Also show the log: a level such as info, or directives as for log.level
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: String,
}

/// `manifold ctl`.
#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// Resource, such as things; without one the resources and their verbs are listed
    pub(crate) resource: Option<String>,
    /// Verb, such as list
    pub(crate) verb: Option<String>,
    /// Fields of the request: a dotted key nests, `key=@FILE` reads the value from a file; `-` is
    /// the whole request as JSON on stdin
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) fields: Vec<String>,
    /// The whole request as a JSON object; fields given beside it are added to it
    #[arg(long, value_name = "JSON")]
    pub(crate) json_body: Option<String>,
    /// Print help; with a resource, or a resource and a verb, their fields with types and defaults
    #[arg(long, short)]
    pub(crate) help: bool,
    /// Makes a repeated request harmless: it is done once, and answered the same again
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Has an edge node of this hub carry it out
    #[arg(long, value_name = "EDGE")]
    pub(crate) edge: Option<String>,
    /// The node: mqtt://host[:1883], or mqtts://host[:8883] for TLS
    #[arg(long, env = "MANIFOLD_URL", default_value = "mqtt://127.0.0.1:1883")]
    pub(crate) url: String,
    /// PEM file of the authority that vouches for the node, for mqtts://; absent: those of the system
    #[arg(long, env = "MANIFOLD_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// User name: a name, or <tenant>/<project>/<name>; `admin` if only a secret is given
    #[arg(long, env = "MANIFOLD_USER")]
    pub(crate) user: Option<String>,
    /// The user's secret; better given as MANIFOLD_SECRET, which other users cannot see
    #[arg(long, env = "MANIFOLD_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}

impl Cli {
    /// What `manifold ctl --help` says.
    pub(crate) fn ctl_help() -> String {
        let mut command = Self::command();
        let ctl = command.find_subcommand_mut("ctl");
        ctl.map(|ctl| ctl.render_long_help().to_string()).unwrap_or_default()
    }
}

/// `manifold completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// Which shell
    pub(crate) shell: Shell,
}

/// `manifold backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// File to make
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Only what is of this tenant, without sessions and what waits in them
    #[arg(long, value_name = "TENANT", value_parser = TenantId::parse)]
    pub(crate) tenant: Option<TenantId>,
}

/// `manifold restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// Directory of the new store: empty, or not there; that of a store for a backup of a tenant, which takes the place
    /// of what there is of it. Without one the file is only checked
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// `manifold check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print every value as it would be used
    #[arg(long)]
    pub(crate) print: bool,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  manifold serve --data /var/lib/manifold
  manifold serve --config manifold.toml --set log.level=debug
  MANIFOLD__LISTEN__MQTT=0.0.0.0:1883 manifold serve

The first start makes the user `admin` and prints its secret once, or takes the
secret from MANIFOLD_ADMIN_SECRET. SIGTERM and Ctrl-C end the node in order.";

const DEMO_EXAMPLES: &str = "\
Examples:
  manifold demo
  manifold demo --port-offset 1000
  manifold demo --data ./demo --log info";

const CTL_EXAMPLES: &str = "\
Examples:
  manifold ctl things create --help
  manifold ctl things list
  manifold ctl things create thing=pump7 location=acme/berlin attributes.maker=KSB
  manifold ctl drivers create driver=plc config.protocol=modbus_tcp \\
      config.address=127.0.0.1:5020
  manifold ctl things list query.state=offline query.tag=press
  manifold ctl things import file=things.csv > secrets.csv
  manifold ctl things delete thing=pump7
  manifold ctl connections list prefix=press state=connected
  manifold ctl retained get topic=plant/level
  manifold ctl users update user=joe secret=@joe.secret --request-id change-7
  manifold ctl things create - < pump7.json
  manifold ctl metrics get --json
  manifold ctl node reload --url mqtts://hub.example --tls-ca ca.crt

Exit codes: 0 done, 1 refused (the reason is on stderr), 2 wrong usage,
3 the node could not be reached.";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  source <(manifold completion bash)
  manifold completion zsh > ~/.zfunc/_manifold
  manifold completion fish > ~/.config/fish/completions/manifold.fish";
const BACKUP_EXAMPLES: &str = "\
Examples:
  manifold backup --data /var/lib/manifold --to manifold.backup

A running node is asked instead:
  manifold ctl backups create";

const RESTORE_EXAMPLES: &str = "\
Examples:
  manifold restore manifold.backup
  manifold restore manifold.backup --data /var/lib/manifold";

const CHECK_EXAMPLES: &str = "\
Examples:
  manifold check --config manifold.toml
  manifold check --config manifold.toml --print";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_lines_of_the_contract_are_understood() {
        for line in [
            "manifold serve",
            "manifold serve --config f.toml --data d --set a.b=1 --set c.d=2",
            "manifold serve --set a.b=1 c.d=2",
            "manifold demo --port-offset 100",
            "manifold backup --data d --to f",
            "manifold restore f --data d",
            "manifold check --config f.toml",
            "manifold ctl",
            "manifold ctl things list --json",
            "manifold ctl things create thing=a --url mqtt://h:1 --user u --secret s",
            "manifold ctl things create --json-body {}",
            "manifold ctl things create --help",
            "manifold ctl things create - --request-id r1",
            "manifold completion bash",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_usage_has_exit_code_2() {
        for line in
            ["manifold nothing", "manifold serve --nothing", "manifold demo --port-offset x"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
