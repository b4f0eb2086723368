//! `POST /api/macro`: writes an object and those it refers to in one request, as old versions of AKO did.
//!
//! `{"model_name": "VirtualService", "data": {…}}`. At any depth, `<field>_data` contains an object in place of a ref
//! (`<field>s_data` a list of them). An object that exists under its name is replaced, any other is created. If one of them
//! is refused, none is written.

use serde_json::{Map, Value};

use super::kind::{KINDS, Kind};
use super::refs::target_kind;
use super::{ADMIN, Store, text};
use crate::{ApiError, Caller, Scope};

impl Store {
    /// Runs a macro. Returns the written objects, innermost first, in the form that POST or PUT returns.
    ///
    /// # Errors
    /// Those of [`create`](Store::create) and [`replace`](Store::replace); nothing is changed then.
    pub fn run_macro(&mut self, caller: &Caller, mut body: Value) -> Result<Value, ApiError> {
        let model = text(&body, "model_name").to_owned();
        let kind = KINDS
            .iter()
            .find(|kind| kind.model.eq_ignore_ascii_case(&model))
            .ok_or_else(|| ApiError::new(400, format!("Invalid model_name '{model}'")))?;
        let Some(Value::Object(data)) = body.get_mut("data").map(Value::take) else {
            return Err(ApiError::new(400, "data: This field is required."));
        };
        self.all_or_nothing(|store| {
            let mut written = Vec::new();
            store.write_nested(caller, kind, data, &mut written)?;
            Ok(Value::Array(written))
        })
    }

    /// Writes an object and the objects in it. Returns its URL.
    fn write_nested(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        mut data: Map<String, Value>,
        written: &mut Vec<Value>,
    ) -> Result<String, ApiError> {
        self.write_parts(caller, &mut data, written)?;
        let reply = match self.find_existing(kind, &data, caller.scope.home())? {
            // A request in `admin` may write an object of another tenant, which the replace must address.
            Some(known) if kind.has_tenant() && caller.scope.home() == ADMIN => {
                let caller = Caller { scope: Scope::Tenant(known.tenant), ..caller.clone() };
                self.replace(&caller, kind.name, &known.uuid, Value::Object(data))?
            }
            Some(known) => self.replace(caller, kind.name, &known.uuid, Value::Object(data))?,
            None => self.create(caller, kind.name, None, Value::Object(data))?,
        };
        let url = text(&reply, "url").to_owned();
        written.push(reply);
        Ok(url)
    }

    /// Writes the objects in place of refs and replaces them by refs.
    fn write_parts(
        &mut self,
        caller: &Caller,
        data: &mut Map<String, Value>,
        written: &mut Vec<Value>,
    ) -> Result<(), ApiError> {
        for (key, value) in std::mem::take(data) {
            let part = key.strip_suffix("_data").and_then(|field| Some((field, target_kind(field)?)));
            let (key, value) = match (part, value) {
                (Some((field, kind)), Value::Object(one)) => {
                    (field.to_owned(), Value::String(self.write_nested(caller, kind, one, written)?))
                }
                (Some((field, kind)), Value::Array(many)) => {
                    let mut urls = Vec::with_capacity(many.len());
                    for one in many {
                        let Value::Object(one) = one else { return Err(not_an_object(&key)) };
                        urls.push(Value::String(self.write_nested(caller, kind, one, written)?));
                    }
                    (field.to_owned(), Value::Array(urls))
                }
                (Some(_), _) => return Err(not_an_object(&key)),
                (None, mut value) => {
                    self.write_within(caller, &mut value, written)?;
                    (key, value)
                }
            };
            data.insert(key, value);
        }
        Ok(())
    }

    /// Writes the objects in place of refs at any depth.
    fn write_within(
        &mut self,
        caller: &Caller,
        value: &mut Value,
        written: &mut Vec<Value>,
    ) -> Result<(), ApiError> {
        match value {
            Value::Object(map) => self.write_parts(caller, map, written),
            Value::Array(list) => {
                list.iter_mut().try_for_each(|value| self.write_within(caller, value, written))
            }
            _ => Ok(()),
        }
    }
}

fn not_an_object(key: &str) -> ApiError {
    ApiError::new(400, format!("{key}: write a JSON object, or a list of them"))
}
