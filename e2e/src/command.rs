//! What the commands `mutate` and `perturb` have in common: which operator, which runs, and how one is repeated.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::install::Subject;
use crate::rig::NAMES;

/// The operator and its runs.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// The operator
    #[arg(value_parser = PossibleValuesParser::new(NAMES))]
    pub operator: String,
    /// Prints the names of the runs and plays none
    #[arg(long)]
    pub list: bool,
    /// Plays the run of this name; may be repeated
    #[arg(long = "run", value_name = "NAME", conflicts_with = "sample")]
    pub names: Vec<String>,
    /// Plays that many runs, which the seed chooses, instead of all
    #[arg(long, value_name = "COUNT")]
    pub sample: Option<NonZeroUsize>,
    /// Chooses what is random [default: the time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Runs at the same time [default: 4, or 2 if the operator has kinds of cluster scope]
    #[arg(long, value_name = "COUNT")]
    lanes: Option<NonZeroUsize>,
}

impl Selection {
    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(seconds)
    }

    /// Returns how many runs of an operator are played at the same time.
    #[must_use]
    pub fn lanes(&self, subject: &Subject) -> usize {
        self.lanes.map_or_else(|| subject.lanes(), NonZeroUsize::get)
    }
}

/// Returns the present time, in seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the command that repeats a run.
pub(crate) fn replay(command: &str, subject: &Subject, name: &impl Display) -> String {
    let name = name.to_string().replace('\'', r"'\''");
    format!("cargo xtask {command} {} --run '{name}'", subject.short())
}

/// Prints a list, a line each, until its reader ends, such as `head`.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
pub fn print_list(lines: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    write_list(&mut io::stdout().lock(), lines)
}

fn write_list(out: &mut impl Write, lines: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    let written = lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::rig::{PageRig, Rig as _};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        selection: Selection,
    }

    /// Takes one line, and then fails.
    struct Full(ErrorKind, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.contains(&b'\n') {
                return Err(self.0.into());
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_list_ends_with_its_reader_and_fails_with_its_disk() {
        let mut reader = Full(ErrorKind::BrokenPipe, Vec::new());
        write_list(&mut reader, ["a", "b"]).unwrap();
        assert_eq!(reader.1, b"a\n");
        let error = write_list(&mut Full(ErrorKind::StorageFull, Vec::new()), ["a", "b"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    fn parse(text: &str) -> Result<Selection, clap::Error> {
        Command::try_parse_from(text.split(' ')).map(|command| command.selection)
    }

    #[test]
    fn the_operator_is_one_of_the_rigs() {
        let error = parse("mutate vdx").unwrap_err().to_string();
        assert!(error.contains(&format!("possible values: {}", NAMES.join(", "))), "{error}");
        assert_eq!(parse("mutate page").unwrap().operator, PageRig::SUBJECT.short());
    }

    #[test]
    fn a_run_that_is_named_is_no_sample() {
        assert!(parse("perturb vm --run=a --sample=1").is_err());
        assert_eq!(parse("perturb vm --run=a --run=b").unwrap().names, ["a", "b"]);
        assert!(parse("perturb vm --lanes=0").is_err());
        assert_eq!(parse("perturb vm --lanes=7 --seed=3").unwrap().lanes(&PageRig::SUBJECT), 7);
    }

    #[test]
    fn the_command_that_repeats_a_run_is_one_argument() {
        let command = replay("mutate", &PageRig::SUBJECT, &"spec.text:it's");
        assert_eq!(command, r"cargo xtask mutate page --run 'spec.text:it'\''s'");
    }
}
