//! `--help`, from the table.

use super::syntax::Flag;
use super::table::{GROUPS, Standing};

/// Columns of the help.
const COLUMNS: usize = 96;

/// What there is besides flags.
const USAGE: &str = "\
Usage: quorate [flags]
       quorate COMMAND

  Starts a member. Flags, ETCD_* variables and defaults are those of etcd 3.7.1, so quorate can
  stand wherever etcd stood.

Commands:
  dev        Run a whole cluster on this machine, to try things out.
  log        Look into the write-ahead log of a member, or repair it.
  snapshot   Make a backup, look into one, or make members of one.
  data       Look into data directories of members that do not run.
  recover    Make a new cluster of what is left of one that lost its majority.
  help       Show this help.

  quorate COMMAND --help says more. quorate --version shows versions.
";

/// The help of the program.
#[must_use]
pub fn program() -> String {
    let mut text = USAGE.to_owned();
    for group in GROUPS {
        text.push_str(&format!("\n{}:\n", group.title));
        for entry in group.flags {
            text.push_str(&paragraph(&entry.flag, entry.standing.remark()));
        }
    }
    text.push_str(
        "\nEvery flag can be given as an environment variable: --data-dir as ETCD_DATA_DIR. \
         Not as both.\n",
    );
    text
}

/// A flag with its default, and its help below it.
#[must_use]
pub fn paragraph(flag: &Flag, remark: Option<&str>) -> String {
    let value = flag.kind.placeholder().map(|value| format!(" {value}")).unwrap_or_default();
    let is_plain = flag.default.is_empty() || (flag.kind.is_lone() && flag.default == "false");
    let default = if is_plain { String::new() } else { format!("  (default {})", flag.default) };
    let mut text = format!("  --{}{value}{default}\n", flag.name);
    let help = match remark {
        Some(remark) => format!("{} {remark}", flag.help),
        None => flag.help.to_owned(),
    };
    let mut line = String::new();
    for word in help.split_whitespace() {
        if !line.is_empty() && 6 + line.len() + 1 + word.len() > COLUMNS {
            text.push_str(&format!("      {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

impl Standing {
    /// What help adds to the flag's own text.
    fn remark(self) -> Option<&'static str> {
        match self {
            Self::Works => None,
            Self::Accepted(why) => Some(why),
            Self::Refused(why) => Some(why),
        }
    }
}
