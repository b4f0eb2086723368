use proptest::prelude::*;

use super::*;

#[test]
fn reads_values() {
    let xml = r#"<?xml version="1.0"?><e:Body xmlns:e="e"><val xsi:type="ArrayOfOptionValue">
        <OptionValue xsi:type="OptionValue"><key>our.b</key><value xsi:type="xsd:string">a &amp; b &#233;</value></OptionValue>
        <OptionValue><key>our.a</key><value/></OptionValue><OptionValue><key>x</key><value>y</value></OptionValue>
        </val></e:Body>"#;
    let node = first(xml, "val").unwrap().unwrap();
    assert_eq!(node.xsi_type.as_deref(), Some("ArrayOfOptionValue"));
    assert_eq!(node.options("our."), [("our.a", ""), ("our.b", "a & b é")]);

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
    let strange = first("<detail><BrandNewFault/></detail>", "detail").unwrap().unwrap().children[0].fault();
    assert_eq!(strange.name, "BrandNew");
}

#[test]
fn a_cut_answer_is_an_error() {
    for cut in ["<a><b>", "<a><objectSet><obj>x</obj>", "<a", "no xml <"] {
        assert!(each(cut, |tag| tag == "objectSet", |_| Ok(())).is_err(), "{cut}");
    }
}

#[test]
fn an_answer_to_another_method_or_none_at_all_is_refused() {
    let answer = r#"<s:Envelope xmlns:s="s"><s:Header/><s:Body><LogoutResponse xmlns="urn:vim25"/></s:Body></s:Envelope>"#;
    assert!(check_answer(answer, "Logout").is_ok());
    for (answer, method) in [
        (answer, "Login"),
        ("", "Login"),
        ("<html><Body><h1>Sign in</h1></Body></html>", "Login"),
        ("hello", "Login"),
        ("{\"error\": 1}", "Login"),
    ] {
        let error = check_answer(answer, method).unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{answer}");
    }
}

#[test]
fn elements_too_deep_or_too_many_are_refused() {
    let deep = format!("<a>{}{}</a>", "<b>".repeat(100_000), "</b>".repeat(100_000));
    assert_eq!(first(&deep, "a").unwrap_err().kind(), Kind::Protocol);
    let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS + 1));
    assert_eq!(first(&many, "a").unwrap_err().kind(), Kind::Protocol);
}

/// A piece of what an answer may hold, well-formed or not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z<>/&;#\"'= x0-9é日\u{0}\u{7f}-]{0,12}",
        "<[a-z:]{1,6}>",
        "</[a-z:]{1,6}>",
        "<(objectSet|val|fault) (type|xsi:type)=\"[^<\"]{0,8}\"/?>",
        "&(#[0-9]{1,9}|#x[0-9a-f]{1,9}|[a-z]{1,5});",
        Just("<![CDATA[".to_owned()),
        Just("]]>".to_owned()),
        Just("<!DOCTYPE a [<!ENTITY b \"c\">]>".to_owned()),
        ".{0,8}",
    ]
}

proptest! {
    /// Whatever a server sends, reading it ends, without a panic.
    #[test]
    fn nonsense_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        let _ = check_answer(&text, "Login");
        let _ = each(&text, |tag| tag.len() < 4, |node| {
            let _ = (node.fault(), node.localized_fault(), node.moref(), node.time(), node.name());
            let _ = node.options("a");
            Ok(())
        });
    }

    /// Text of any characters comes back as it was, in elements and in attributes.
    #[test]
    fn text_survives(text in "[^\u{0}-\u{1f}\u{fffe}\u{ffff}]{0,40}") {
        let written = quick_xml::escape::escape(&text);
        let xml = format!("<a><key>k</key><value>{written}</value></a>");
        let node = first(&xml, "value").unwrap().unwrap();
        prop_assert_eq!(&node.text, &text);
    }
}
