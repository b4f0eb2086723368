//! Reading XML without knowing every vim type: an element is its text, its type and its children.
//! The collector's answers carry whatever a vCenter has, faults of newer versions included, and
//! one unknown type must not make the rest unreadable. Owns parsing; knows no vim method.

use std::time::SystemTime;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Error, Kind};
use super::fault::Fault;
use super::moref::MoRef;
use super::name::unescape;
use super::power::PowerState;

/// One element with everything in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its name without a prefix.
    pub(super) tag: String,
    /// `xsi:type`, without a prefix.
    pub(super) xsi_type: Option<String>,
    /// The plain attribute `type`, which references carry.
    pub(super) mo_type: Option<String>,
    /// Its text, entities resolved.
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

impl Node {
    /// The first child of that name.
    pub(super) fn child(&self, tag: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.tag == tag)
    }

    fn child_text(&self, tag: &str) -> Option<&str> {
        self.child(tag).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The text as an object's name.
    pub(super) fn name(&self) -> String {
        unescape(&self.text).into_owned()
    }

    /// The element as a reference.
    pub(super) fn moref(&self) -> Option<MoRef> {
        let kind = self.mo_type.as_deref().filter(|kind| !kind.is_empty())?;
        (!self.text.is_empty()).then(|| MoRef::new(kind, &self.text))
    }

    /// The element as `xsd:dateTime`.
    pub(super) fn time(&self) -> Option<SystemTime> {
        self.text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// The element as an array of `OptionValue`, reduced to keys with a prefix, by key.
    pub(super) fn options(&self, prefix: &str) -> Vec<(String, String)> {
        let mut options: Vec<_> = self
            .children
            .iter()
            .filter_map(|option| {
                let key = option.child_text("key").filter(|key| key.starts_with(prefix))?;
                Some((key.to_owned(), option.child_text("value").unwrap_or_default().to_owned()))
            })
            .collect();
        options.sort_unstable();
        options.shrink_to_fit();
        options
    }

    /// The element as a `MethodFault`.
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

    /// The element as a `LocalizedMethodFault`.
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

/// Walks a document and hands out, whole, every element for whose name `wanted` says yes.
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

/// The first element of that name, whole.
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

/// Reads on until the end of the element that `start` began. Iterative, so that no answer can
/// exhaust the stack.
fn element(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>) -> Result<Node, Error> {
    let mut node = open(start)?;
    let mut parents: Vec<Node> = Vec::new();
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) => parents.push(std::mem::replace(&mut node, open(&start)?)),
            Event::Empty(start) => node.children.push(open(&start)?),
            Event::Text(text) => node.text.push_str(text.as_ref()),
            Event::CData(text) => node.text.push_str(text.as_ref()),
            Event::GeneralRef(entity) => {
                let name: &str = entity.as_ref();
                match entity.resolve_char_ref().map_err(broken)? {
                    Some(c) => node.text.push(c),
                    None => node.text.push_str(
                        quick_xml::escape::resolve_predefined_entity(name)
                            .ok_or_else(|| broken("an unknown entity"))?,
                    ),
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
mod tests {
    use super::*;

    #[test]
    fn reads_values() {
        let xml = r#"<?xml version="1.0"?><e:Body xmlns:e="e"><val xsi:type="ArrayOfOptionValue">
            <OptionValue xsi:type="OptionValue"><key>our.b</key><value xsi:type="xsd:string">a &amp; b &#233;</value></OptionValue>
            <OptionValue><key>our.a</key><value/></OptionValue><OptionValue><key>x</key><value>y</value></OptionValue>
            </val></e:Body>"#;
        let node = first(xml, "val").unwrap().unwrap();
        assert_eq!(node.xsi_type.as_deref(), Some("ArrayOfOptionValue"));
        assert_eq!(
            node.options("our."),
            [("our.a".into(), String::new()), ("our.b".into(), "a & b é".into())]
        );

        let parent =
            first(r#"<x><val type="Folder" xsi:type="ManagedObjectReference">group-v3</val></x>"#, "val")
                .unwrap()
                .unwrap();
        assert_eq!(parent.moref(), Some(MoRef::new("Folder", "group-v3")));
        let time = first("<q>2026-01-02T03:04:05.678+01:00</q>", "q").unwrap().unwrap().time().unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(), 1_767_319_445_678);
    }

    #[test]
    fn reads_faults_of_any_type() {
        let xml = r#"<val xsi:type="LocalizedMethodFault"><fault xsi:type="DuplicateName"><name>a%2fb</name>
            <object type="VirtualMachine">vm-7</object></fault><localizedMessage>*types.DuplicateName</localizedMessage></val>"#;
        let fault = first(xml, "val").unwrap().unwrap().localized_fault();
        assert_eq!(
            fault,
            Fault {
                name: "DuplicateName".into(),
                object: Some(MoRef::new("VirtualMachine", "vm-7")),
                detail: Some("a/b".into()),
                ..Fault::default()
            }
        );
        let xml = r#"<detail><InvalidPowerStateFault xmlns="urn:vim25" xsi:type="InvalidPowerState"><requestedState>poweredOn</requestedState>
            <existingState>poweredOn</existingState></InvalidPowerStateFault></detail>"#;
        let fault = first(xml, "detail").unwrap().unwrap().children[0].fault();
        assert_eq!((fault.name.as_str(), fault.existing), ("InvalidPowerState", Some(PowerState::On)));
        let strange =
            first("<detail><BrandNewFault/></detail>", "detail").unwrap().unwrap().children[0].fault();
        assert_eq!(strange.name, "BrandNew");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        for cut in ["<a><b>", "<a><objectSet><obj>x</obj>", "<a", "no xml <"] {
            assert!(each(cut, |tag| tag == "objectSet", |_| Ok(())).is_err(), "{cut}");
        }
    }
}
