//! The environment and the command line of a container, from the Pod and the objects that it refers to. Pure functions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};
use kube::ResourceExt;

use super::sources::{Objects, Reference};

/// Why a container cannot start, as its status says it.
pub(super) type Trouble = String;

/// Returns the variables of a container, those in `given` first; later ones replace earlier ones.
pub(super) fn variables(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    given: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Trouble> {
    let mut variables = given;
    for source in container.env_from.iter().flatten() {
        let (reference, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (Reference::config_map(&map.name), map.optional),
            (None, Some(secret)) => (Reference::secret(&secret.name), secret.optional),
            (None, None) => continue,
        };
        let Some(data) = objects.get(&reference).and_then(Option::as_ref) else {
            if optional == Some(true) {
                continue;
            }
            return Err(format!("{reference} not found"));
        };
        let prefix = source.prefix.as_deref().unwrap_or_default();
        for (key, value) in data {
            variables.insert(format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, variable, objects, &variables)? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// Returns the value of a variable; `None` if its optional source does not exist.
fn value(
    pod: &Pod,
    variable: &EnvVar,
    objects: &Objects,
    earlier: &BTreeMap<String, String>,
) -> Result<Option<String>, Trouble> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), earlier)));
    };
    if let Some(field) = &source.field_ref {
        return self::field(pod, &field.field_path).map(Some);
    }
    let Some((reference, key, optional)) = key_of(source) else {
        return Err(format!("the source of the variable {} is not known", variable.name));
    };
    let data = objects.get(&reference).and_then(Option::as_ref);
    match data.and_then(|data| data.get(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None if data.is_none() => Err(format!("{reference} not found")),
        None => Err(format!("couldn't find key {key} in {reference}")),
    }
}

/// Returns the object and the key that a source names, and whether they may be missing.
fn key_of(source: &EnvVarSource) -> Option<(Reference, &str, bool)> {
    if let Some(map) = &source.config_map_key_ref {
        return Some((Reference::config_map(&map.name), map.key.as_str(), map.optional == Some(true)));
    }
    let secret = source.secret_key_ref.as_ref()?;
    Some((Reference::secret(&secret.name), secret.key.as_str(), secret.optional == Some(true)))
}

/// Returns a field of the Pod, as the downward API does.
pub(super) fn field(pod: &Pod, path: &str) -> Result<String, Trouble> {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let of = |path: &str, kind: &str| {
        path.strip_prefix(kind)?.strip_prefix("['")?.strip_suffix("']").map(str::to_owned)
    };
    if let Some(key) = of(path, "metadata.labels") {
        return Ok(pod.labels().get(&key).cloned().unwrap_or_default());
    }
    if let Some(key) = of(path, "metadata.annotations") {
        return Ok(pod.annotations().get(&key).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "spec.nodeName" => spec.node_name,
        "spec.serviceAccountName" => spec.service_account_name,
        // Every process listens on the addresses of this machine.
        "status.hostIP" | "status.podIP" => status.host_ip.or_else(|| Some("127.0.0.1".to_owned())),
        other => return Err(format!("the field {other} is not known")),
    };
    Ok(value.unwrap_or_default())
}

/// Returns the command line: the program, then the arguments that the container gives it.
///
/// `command` begins with the program, which the image names too; only what follows counts here.
pub(super) fn arguments(container: &Container, variables: &BTreeMap<String, String>) -> Vec<String> {
    let command = container.command.iter().flatten().skip(1);
    command.chain(container.args.iter().flatten()).map(|argument| expand(argument, variables)).collect()
}

/// Replaces `$(NAME)` by the value of a variable, if there is one, and `$$` by `$`.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        if let Some((value, after)) = named.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            expanded.push_str(value);
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(container: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"}},
            "spec": {"nodeName": "node", "containers": [container]},
        }))
        .unwrap()
    }

    fn known() -> Objects {
        let data = |key: &str, value: &str| Some([(key.to_owned(), value.as_bytes().to_vec())].into());
        [
            (Reference::config_map("m"), data("key", "of map")),
            (Reference::secret("s"), data("key", "of secret")),
            (Reference::secret("gone"), None),
        ]
        .into()
    }

    fn read(container: &Value) -> Result<BTreeMap<String, String>, Trouble> {
        let pod = pod(container);
        let given = [("GIVEN".to_owned(), "given".to_owned())].into();
        variables(&pod, &pod.spec.as_ref().unwrap().containers[0], &known(), given)
    }

    #[test]
    fn variables_come_from_values_fields_and_objects() {
        let variables = read(&json!({"name": "c", "envFrom": [
            {"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "gone", "optional": true}},
        ], "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)-$(GIVEN)-$(NONE)-$$(A)-$"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {"name": "LEFT_OUT", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "none", "optional": true}}},
        ]}))
        .unwrap();
        let expected = [
            ("A", "a"),
            ("APP", "a"),
            ("B", "a-given-$(NONE)-$(A)-$"),
            ("GIVEN", "given"),
            ("NODE", "node"),
            ("P_key", "of map"),
            ("SECRET", "of secret"),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(variables, expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = |source: Value| {
            read(&json!({"name": "c", "env": [{"name": "V", "valueFrom": source}]})).unwrap_err()
        };
        assert_eq!(
            refusal(json!({"secretKeyRef": {"name": "gone", "key": "k"}})),
            r#"secret "gone" not found"#
        );
        assert_eq!(
            refusal(json!({"configMapKeyRef": {"name": "m", "key": "k"}})),
            r#"couldn't find key k in configmap "m""#
        );
        assert_eq!(refusal(json!({"fieldRef": {"fieldPath": "spec.x"}})), "the field spec.x is not known");
        assert_eq!(
            refusal(json!({"resourceFieldRef": {"resource": "limits.cpu"}})),
            "the source of the variable V is not known"
        );
        let missing = read(&json!({"name": "c", "envFrom": [{"secretRef": {"name": "gone"}}]})).unwrap_err();
        assert_eq!(missing, r#"secret "gone" not found"#);
    }

    #[test]
    fn arguments_are_expanded_and_the_program_left_out() {
        let pod = pod(&json!({"name": "c", "command": ["/bin/x", "--of=$(A)"], "args": ["--b", "$(NONE)"]}));
        let variables = [("A".to_owned(), "1".to_owned())].into();
        let arguments = arguments(&pod.spec.unwrap().containers[0], &variables);
        assert_eq!(arguments, ["--of=1", "--b", "$(NONE)"]);
    }
}
