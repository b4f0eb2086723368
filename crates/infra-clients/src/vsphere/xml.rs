//! Reads XML without knowing every vim type: an element is its text, its type and its children. The collector's
//! answers carry whatever a vCenter has, faults of newer versions included, and one unknown type must not make the
//! rest unreadable. Owns parsing and its limits: no answer, however malformed, exhausts the stack or the memory.

use std::time::SystemTime;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Error, Kind};
use super::fault::Fault;
use super::moref::MoRef;
use super::name::unescape;
use super::power::PowerState;

/// Deepest nesting of elements. Answers of vCenter stay below 30.
const MAX_DEPTH: usize = 100;
/// Most elements within one that is read whole. The largest in use is the list of a folder's children.
const MAX_ELEMENTS: usize = 250_000;

/// What is done may result in anything, such as all files of a datastore: of the results of tasks, only references are read.
const RESULT: &str = "info.result";

/// One element with everything in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The name without a prefix.
    pub(super) tag: String,
    /// `xsi:type`, without a prefix.
    pub(super) xsi_type: Option<String>,
    /// The plain attribute `type`, which references carry.
    pub(super) mo_type: Option<String>,
    /// The text with entities resolved.
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

impl Node {
    /// Returns the first child of that name.
    pub(super) fn child(&self, tag: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.tag == tag)
    }

    fn child_text(&self, tag: &str) -> Option<&str> {
        self.child(tag).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Reads the text as an object's name.
    pub(super) fn name(&self) -> String {
        unescape(&self.text).into_owned()
    }

    /// Reads the element as a reference.
    pub(super) fn moref(&self) -> Option<MoRef> {
        let kind = self.mo_type.as_deref().filter(|kind| !kind.is_empty())?;
        (!self.text.is_empty()).then(|| MoRef::new(kind, &self.text))
    }

    /// Reads the element as `xsd:dateTime`.
    pub(super) fn time(&self) -> Option<SystemTime> {
        self.text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// Reads the element as an array of `OptionValue`: keys with a prefix and their values, in the order of the keys.
    pub(super) fn options(&self, prefix: &str) -> Vec<(&str, &str)> {
        let mut options: Vec<_> = self
            .children
            .iter()
            .filter_map(|option| {
                let key = option.child_text("key").filter(|key| key.starts_with(prefix))?;
                Some((key, option.child_text("value").unwrap_or_default()))
            })
            .collect();
        options.sort_unstable();
        options
    }

    /// Reads the element as a `MethodFault`.
    pub(super) fn fault(&self) -> Fault {
        // The element in a SOAP fault's detail is called after the type, with `Fault` added.
        let name = self
            .xsi_type
            .clone()
            .unwrap_or_else(|| self.tag.strip_suffix("Fault").unwrap_or(&self.tag).to_owned());
        Fault {
            object: ["object", "obj"].iter().find_map(|tag| self.child(tag)?.moref()),
            existing: self.child_text("existingState").and_then(PowerState::parse),
            detail: ["privilegeId", "name", "invalidProperty"]
                .iter()
                .find_map(|tag| self.child_text(tag))
                .map(|detail| unescape(detail).into_owned()),
            name,
            text: String::new(),
        }
    }

    /// Reads the element as a `LocalizedMethodFault`.
    pub(super) fn localized_fault(&self) -> Fault {
        let mut fault = self.child("fault").map(Node::fault).unwrap_or_default();
        if fault.name.is_empty() {
            "MethodFault".clone_into(&mut fault.name);
        }
        // The simulator writes the name of a Go type here.
        let text = self.child_text("localizedMessage").unwrap_or_default();
        if !text.starts_with("*types.") && text != fault.name {
            text.clone_into(&mut fault.text);
        }
        fault
    }
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Protocol, format!("the answer is not the XML expected: {why}"))
}

/// Checks that a document is an answer to `method`, as far as the first element of its body tells.
pub(super) fn check_answer(xml: &str, method: &str) -> Result<(), Error> {
    let mut reader = Reader::from_str(xml);
    let mut in_body = false;
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) | Event::Empty(start) => {
                let name = start.local_name();
                let name: &str = name.as_ref();
                if !in_body {
                    in_body = name == "Body";
                } else if name.strip_suffix("Response") == Some(method) {
                    return Ok(());
                } else {
                    return Err(Error::new(Kind::Protocol, "the answer belongs to another method"));
                }
            }
            Event::Eof => return Err(Error::new(Kind::Protocol, "the answer is not a SOAP envelope")),
            _ => {}
        }
    }
}

/// Walks a document and passes on, whole, every element whose name is `wanted`.
pub(super) fn each(
    xml: &str,
    wanted: impl Fn(&str) -> bool,
    mut take: impl FnMut(Node) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::from_str(xml);
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) if wanted(start.local_name().as_ref()) => {
                let node = element(&mut reader, &start)?;
                take(node)?;
            }
            Event::Empty(start) if wanted(start.local_name().as_ref()) => take(open(&start)?)?,
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof if depth > 0 => return Err(broken("it ends in the middle")),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Returns the first element of that name, whole.
pub(super) fn first(xml: &str, tag: &str) -> Result<Option<Node>, Error> {
    let mut found = None;
    each(
        xml,
        |name| name == tag,
        |node| {
            found.get_or_insert(node);
            Ok(())
        },
    )?;
    Ok(found)
}

fn open(start: &BytesStart<'_>) -> Result<Node, Error> {
    let mut node = Node { tag: start.local_name().as_ref().to_owned(), ..Node::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(broken)?;
        let key: &str = attribute.key.as_ref();
        let slot = match key.split_once(':') {
            None if key == "type" => &mut node.mo_type,
            Some((prefix, "type")) if prefix != "xmlns" => &mut node.xsi_type,
            _ => continue,
        };
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(broken)?;
        *slot = Some(value.rsplit(':').next().unwrap_or_default().to_owned());
    }
    Ok(node)
}

/// Returns whether an element is the result of a task, and no reference.
fn is_unread(parent: &Node, element: &Node) -> bool {
    let is_reference =
        element.xsi_type.as_deref() == Some("ManagedObjectReference") || element.mo_type.is_some();
    element.tag == "val" && !is_reference && parent.child_text("name") == Some(RESULT)
}

/// Reads on until the end of the element that `start` began. Elements within elements are dropped recursively, so
/// their depth is limited although reading is not recursive.
fn element(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>) -> Result<Node, Error> {
    let mut node = open(start)?;
    let mut parents: Vec<Node> = Vec::new();
    let mut elements = 0_usize;
    loop {
        let event = reader.read_event().map_err(broken)?;
        elements += usize::from(matches!(event, Event::Start(_) | Event::Empty(_)));
        if parents.len() > MAX_DEPTH || elements > MAX_ELEMENTS {
            return Err(broken("it has too many elements, or too deep ones"));
        }
        match event {
            Event::Start(start) => {
                let child = open(&start)?;
                if is_unread(&node, &child) {
                    reader.read_to_end(start.name()).map_err(broken)?;
                    node.children.push(child);
                } else {
                    parents.push(std::mem::replace(&mut node, child));
                }
            }
            Event::Empty(start) => node.children.push(open(&start)?),
            Event::Text(text) => node.text.push_str(text.as_ref()),
            Event::CData(text) => node.text.push_str(text.as_ref()),
            Event::GeneralRef(entity) => {
                if let Some(c) = entity.resolve_char_ref().map_err(broken)? {
                    node.text.push(c);
                } else {
                    let text = quick_xml::escape::resolve_predefined_entity(entity.as_ref());
                    node.text.push_str(text.ok_or_else(|| broken("an unknown entity"))?);
                }
            }
            Event::End(_) => {
                if !node.children.is_empty() {
                    // White space between elements.
                    node.text = String::new();
                }
                match parents.pop() {
                    Some(parent) => {
                        let child = std::mem::replace(&mut node, parent);
                        node.children.push(child);
                    }
                    None => return Ok(node),
                }
            }
            Event::Eof => return Err(broken("it ends in the middle")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
