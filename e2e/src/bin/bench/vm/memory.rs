//! The parts of a process's resident memory, from `/proc/<pid>/smaps`.

use std::collections::BTreeMap;
use std::fs;
use std::str::SplitWhitespace;

use anyhow::{Context, Result};

/// The resident bytes by kind.
pub(crate) type Parts = BTreeMap<&'static str, u64>;

/// Reads the parts of a process's resident memory; `binary` is its executable.
pub(crate) fn parts(pid: u32, binary: &str) -> Result<Parts> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(parse(&smaps, binary))
}

fn parse(smaps: &str, binary: &str) -> Parts {
    let mut parts = Parts::new();
    let mut mapping = ("", "");
    let mut resident = 0;
    for line in smaps.lines() {
        let mut fields = line.split_whitespace();
        let first = fields.next().unwrap_or_default();
        let kib = |fields: &mut SplitWhitespace<'_>| {
            fields.next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        match first {
            "Rss:" => resident = kib(&mut fields),
            // A page of a file that was written is private to the process.
            "Anonymous:" => {
                let anonymous = kib(&mut fields);
                *parts.entry(own(mapping, binary)).or_default() += anonymous;
                *parts.entry(file(mapping, binary)).or_default() += resident.saturating_sub(anonymous);
            }
            // address permissions offset device inode path
            _ if first.contains('-') && !first.ends_with(':') => {
                mapping = (fields.next().unwrap_or_default(), fields.nth(3).unwrap_or_default());
            }
            _ => {}
        }
    }
    parts.retain(|_, bytes| *bytes > 0);
    parts
}

fn own((_, path): (&str, &str), binary: &str) -> &'static str {
    match path {
        "[heap]" => "own: heap of the first thread",
        "[stack]" => "own: stack of the first thread",
        "" => "own: heaps of other threads, their stacks, large blocks",
        path if path == binary => "own: the binary's relocated and written data",
        _ => "own: written data of libraries",
    }
}

fn file((permissions, path): (&str, &str), binary: &str) -> &'static str {
    match (permissions, path) {
        (permissions, path) if path == binary && permissions.contains('x') => "file: the binary's code",
        (_, path) if path == binary => "file: the binary's constants and unwind tables",
        _ => "file: libraries (libc, libm, libgcc_s, ld.so)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resident_page_is_counted_once() {
        let smaps = "\
55d0-55d4 r--p 00000000 fe:00 12 /bin/op
Rss:                  40 kB
Anonymous:             0 kB
55d4-55d8 r-xp 00004000 fe:00 12 /bin/op
Rss:                 100 kB
Anonymous:             0 kB
55d8-55d9 rw-p 00008000 fe:00 12 /bin/op
Rss:                  12 kB
Anonymous:             8 kB
55e0-55f0 rw-p 00000000 00:00 0 [heap]
Rss:                 300 kB
Anonymous:           300 kB
";
        let parts = parse(smaps, "/bin/op");
        assert_eq!(parts.values().sum::<u64>(), 452 * 1024);
        assert_eq!(parts["file: the binary's constants and unwind tables"], 44 * 1024);
        assert_eq!(parts["own: the binary's relocated and written data"], 8 * 1024);
    }
}
