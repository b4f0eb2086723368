//! The limit of open files: of a process that serves connections, it bounds how many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Raises the soft limit to the hard one. Service managers and container runtimes set 1024, for programs that cannot use more.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised");
    }
}

/// Returns how many connections a server may have open: `wanted`, or a quarter of the files that the process may open if that is less.
pub(crate) fn connections(wanted: usize) -> usize {
    share(wanted, getrlimit(Resource::Nofile).current)
}

/// `files`: the limit; `None`: there is none.
fn share(wanted: usize, files: Option<u64>) -> usize {
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    wanted.min(files / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers leave half of the files to everything else.
    #[test]
    fn connections_fit_into_the_limit_of_files() {
        let rows = [(None, 1024), (Some(1 << 20), 1024), (Some(4096), 1024), (Some(1024), 256), (Some(2), 1)];
        for (files, wanted) in rows {
            assert_eq!(share(1024, files), wanted, "{files:?}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
