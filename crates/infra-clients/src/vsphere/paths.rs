//! Inventory paths, and lists of them for messages.

use std::collections::HashMap;

use super::moref::MoRef;
use super::name::{escape, unescape};
use super::properties::ObjectUpdate;

/// Names and parents by reference, from objects with the properties `name` and `parent`.
pub(super) struct Paths(HashMap<MoRef, (String, Option<MoRef>)>);

/// No inventory is nested deeper; parents that form a circle end here.
const MAX_DEPTH: usize = 100;

impl Paths {
    pub(super) fn of(objects: &[ObjectUpdate]) -> Self {
        let entry = |object: &ObjectUpdate| (object.obj.clone(), (object.name(), object.moref("parent")));
        Self(objects.iter().map(entry).collect())
    }

    /// Returns the object, its parent, and so on.
    fn up<'a>(&'a self, moref: &'a MoRef) -> impl Iterator<Item = &'a MoRef> {
        std::iter::successors(Some(moref), |at| self.parent(at)).take(MAX_DEPTH)
    }

    /// Returns the escaped names from below `top` down to the object, joined by slashes.
    pub(super) fn path(&self, moref: &MoRef, top: &MoRef) -> String {
        let below = self.up(moref).take_while(|at| *at != top);
        let mut names: Vec<_> = below.filter_map(|at| self.0.get(at)).map(|(name, _)| escape(name)).collect();
        names.reverse();
        names.join("/")
    }

    pub(super) fn parent(&self, moref: &MoRef) -> Option<&MoRef> {
        self.0.get(moref)?.1.as_ref()
    }

    /// Returns whether the object is `top` or below it.
    pub(super) fn is_under(&self, moref: &MoRef, top: &MoRef) -> bool {
        self.up(moref).any(|at| at == top)
    }
}

/// Returns a path as a person wrote it in the form that [`Paths::path`] has.
pub(super) fn normal(path: &str) -> String {
    let names: Vec<_> = segments(path).map(|name| escape(&name).into_owned()).collect();
    names.join("/")
}

/// Returns the names in a path as a person wrote it, unescaped.
pub(super) fn segments(path: &str) -> impl Iterator<Item = String> {
    path.trim_matches('/').split('/').filter(|name| !name.is_empty()).map(|name| unescape(name).into_owned())
}

/// Returns at most five names, for a message.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let mut shown: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    shown.sort_unstable();
    let more = shown.len().saturating_sub(5);
    shown.truncate(5);
    let text = shown.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short() {
        assert_eq!(list(&["b", "a"]), "a, b");
        assert_eq!(list(&["1", "2", "3", "4", "5", "6", "7"]), "1, 2, 3, 4, 5 and 2 more");
    }

    #[test]
    fn paths_have_one_spelling() {
        for (written, normal_form) in
            [("/a/b/", "a/b"), ("a//b", "a/b"), ("a%2Fb/50%", "a%2fb/50%25"), ("/", ""), ("é", "é")]
        {
            assert_eq!(normal(written), normal_form, "{written}");
        }
        assert_eq!(segments("x%2fy/z").collect::<Vec<_>>(), ["x/y", "z"]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let (a, b) = (MoRef::new("Folder", "a"), MoRef::new("Folder", "b"));
        let paths = Paths(HashMap::from([
            (a.clone(), ("a".to_owned(), Some(b.clone()))),
            (b.clone(), ("b".to_owned(), Some(a.clone()))),
        ]));
        assert!(!paths.is_under(&a, &MoRef::new("Folder", "top")) && paths.is_under(&a, &b));
        assert!(paths.path(&a, &MoRef::new("Folder", "top")).len() < 1000);
    }
}
