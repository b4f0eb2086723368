//! A store with a caller.

use avi_simulator::store::{Query, Store};
use avi_simulator::{ApiError, Assumptions, Caller, Rights, Rules, Scope, Version};
use serde_json::Value;

pub(crate) const BASE: &str = "https://avi.test:9443";

pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) caller: Caller,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Rules::default(), Assumptions::default())
    }

    pub(crate) fn with(rules: Rules, assumptions: Assumptions) -> Self {
        let caller = Caller {
            user: "admin".into(),
            scope: Scope::Tenant("admin".into()),
            rights: Rights::all(),
            version: Version(30, 2, 1),
            base: BASE.into(),
            now: 1_700_000_000_000_000,
        };
        Self { store: Store::new(rules, assumptions), caller }
    }

    /// Runs `act` as a caller in a tenant.
    pub(crate) fn as_tenant<T>(&mut self, uuid: &str, act: impl FnOnce(&mut Rig) -> T) -> T {
        self.as_scope(Scope::Tenant(uuid.into()), act)
    }

    pub(crate) fn as_scope<T>(&mut self, scope: Scope, act: impl FnOnce(&mut Rig) -> T) -> T {
        let before = std::mem::replace(&mut self.caller.scope, scope);
        let result = act(self);
        self.caller.scope = before;
        result
    }

    pub(crate) fn as_version<T>(&mut self, version: Version, act: impl FnOnce(&mut Rig) -> T) -> T {
        let before = std::mem::replace(&mut self.caller.version, version);
        let result = act(self);
        self.caller.version = before;
        result
    }

    pub(crate) fn create(&mut self, kind: &str, body: Value) -> Value {
        self.try_create(kind, body).unwrap_or_else(|error| panic!("{kind}: {error:?}"))
    }

    pub(crate) fn try_create(&mut self, kind: &str, body: Value) -> Result<Value, ApiError> {
        self.store.create(&self.caller, kind, None, body)
    }

    pub(crate) fn put(&mut self, kind: &str, uuid: &str, body: Value) -> Result<Value, ApiError> {
        self.store.replace(&self.caller, kind, uuid, body)
    }

    pub(crate) fn patch(&mut self, kind: &str, uuid: &str, body: Value) -> Result<Value, ApiError> {
        self.store.patch(&self.caller, kind, uuid, body)
    }

    pub(crate) fn delete(&mut self, kind: &str, uuid: &str) -> Result<(), ApiError> {
        self.store.delete(&self.caller, kind, uuid)
    }

    pub(crate) fn get(&self, kind: &str, uuid: &str, query: &str) -> Result<Value, ApiError> {
        self.store.get(&self.caller, kind, uuid, &Query::parse(query).unwrap())
    }

    pub(crate) fn list(&self, kind: &str, query: &str) -> Value {
        self.try_list(kind, query).unwrap_or_else(|error| panic!("{kind}?{query}: {error:?}"))
    }

    pub(crate) fn try_list(&self, kind: &str, query: &str) -> Result<Value, ApiError> {
        self.store.list(&self.caller, kind, &Query::parse(query)?)
    }

    /// Returns the names of a list, in its order.
    pub(crate) fn names(&self, kind: &str, query: &str) -> Vec<String> {
        let list = self.list(kind, query);
        list["results"].as_array().unwrap().iter().map(|one| text(one, "name").to_owned()).collect()
    }

    /// Returns the uuid of the only object with a name.
    pub(crate) fn uuid_of(&self, kind: &str, name: &str) -> String {
        let list = self.list(kind, &format!("name={name}"));
        assert_eq!(list["count"], 1, "{kind} {name}");
        text(&list["results"][0], "uuid").to_owned()
    }
}

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is not a text in {value}"))
}

pub(crate) fn uuid(value: &Value) -> String {
    text(value, "uuid").to_owned()
}
