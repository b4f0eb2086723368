//! Another directory of the kubelet: in paths of the host, mounts, arguments, variables and probes of Linux Pods.

use kube::core::DynamicObject;
use serde_json::Value;

use super::workload::pod_spec;
use crate::problem::Problem;

const DEFAULT: &str = "/var/lib/kubelet";
const FIELD: &str = "kubeletPath";

/// Replaces the directory wherever the Pods name it, or something in it.
pub(super) fn move_to(objects: &mut [DynamicObject], directory: Option<&str>) -> Option<Problem> {
    let directory = directory.map(|path| path.trim_end_matches('/')).filter(|path| *path != DEFAULT)?;
    if !is_usable(directory) {
        let message =
            format!("{directory:?} is no directory: write an absolute path without .., blanks and variables");
        return Some(Problem::new(FIELD, message));
    }
    for spec in objects.iter_mut().filter_map(pod_spec) {
        replace(spec, directory);
    }
    None
}

fn is_usable(path: &str) -> bool {
    let mut parts = path.split('/');
    let is_part = |part: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(is_letter)
    };
    // A path begins with an empty part.
    parts.next() == Some("") && path.len() > 1 && parts.all(is_part)
}

fn replace(value: &mut Value, directory: &str) {
    match value {
        Value::String(text) => {
            if let Some(moved) = moved(text, directory) {
                *text = moved;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, directory)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, directory)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a text with the directory replaced where a path begins with it; `None` if it has none.
fn moved(text: &str, directory: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut is_moved = false;
    while let Some(at) = rest.find(DEFAULT) {
        let (before, after) = (&rest[..at], &rest[at + DEFAULT.len()..]);
        let begins = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c));
        let ends = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c));
        out.push_str(before);
        out.push_str(if begins && ends { directory } else { DEFAULT });
        is_moved |= begins && ends;
        rest = after;
    }
    out.push_str(rest);
    is_moved.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_moved_as_wholes() {
        let cases = [
            ("/var/lib/kubelet", Some("/data/k")),
            ("/var/lib/kubelet/plugins/x", Some("/data/k/plugins/x")),
            ("--path=/var/lib/kubelet/a", Some("--path=/data/k/a")),
            ("/var/lib/kubelet:/var/lib/kubelet:rw", Some("/data/k:/data/k:rw")),
            ("unix:///var/lib/kubelet/a.sock", Some("unix:///data/k/a.sock")),
            ("/var/lib/kubelet2", None),
            ("/var/lib/kubelet.d/x", None),
            ("/host/var/lib/kubelet/x", None),
            (r"C:\var\lib\kubelet", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(moved(text, "/data/k").as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn only_directories_are_taken() {
        for good in ["/data", "/var/data/kubelet", "/a.b/c-d_e"] {
            assert!(is_usable(good), "{good}");
        }
        for bad in ["", "/", "data", "/a/../b", "/a//b", "/a b", "/$(X)", "/a\n", "/./a"] {
            assert!(!is_usable(bad), "{bad:?}");
        }
    }
}
