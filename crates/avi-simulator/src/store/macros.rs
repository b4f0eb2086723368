//! `POST /api/macro`: an object and those it refers to in one request, as AKO sent them before it wrote one by one.
//!
//! `{"model_name": "VirtualService", "data": {…}}`; where a ref would stand, at whatever depth, `<field>_data` holds the
//! object itself (or a list of them for `<field>s_data`). What exists under its name is replaced, what does not is made;
//! if one part is refused, nothing was written.

use serde_json::{Map, Value};

use super::kind::{KINDS, Kind};
use super::refs::target;
use super::{ADMIN, Store, text};
use crate::{ApiError, Caller, Scope};

impl Store {
    /// The objects written, innermost first, each as its own POST or PUT would have given it.
    ///
    /// # Errors
    /// As [`create`](Store::create) and [`replace`](Store::replace); then nothing has changed.
    pub fn macro_(&mut self, caller: &Caller, mut body: Value) -> Result<Value, ApiError> {
        let wanted = text(&body, "model_name").to_owned();
        let kind = KINDS
            .iter()
            .find(|kind| kind.model.eq_ignore_ascii_case(&wanted))
            .ok_or_else(|| ApiError::new(400, format!("Invalid model_name '{wanted}'")))?;
        let Some(Value::Object(data)) = body.get_mut("data").map(Value::take) else {
            return Err(ApiError::new(400, "data: This field is required."));
        };
        self.all_or_nothing(|store| {
            let mut written = Vec::new();
            store.write_nested(caller, kind, data, &mut written)?;
            Ok(Value::Array(written))
        })
    }

    /// The URL of an object, once it and its parts are written.
    fn write_nested(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        mut data: Map<String, Value>,
        written: &mut Vec<Value>,
    ) -> Result<String, ApiError> {
        self.write_parts(caller, &mut data, written)?;
        let reply = match self.there_already(kind, &data, caller.scope.home())? {
            // Where the data says it is: from `admin`, that need not be where the request is.
            Some(known) if kind.tenanted() && caller.scope.home() == ADMIN => {
                let there = Caller { scope: Scope::Tenant(known.tenant), ..caller.clone() };
                self.replace(&there, kind.name, &known.uuid, Value::Object(data))?
            }
            Some(known) => self.replace(caller, kind.name, &known.uuid, Value::Object(data))?,
            None => self.create(caller, kind.name, None, Value::Object(data))?,
        };
        let url = text(&reply, "url").to_owned();
        written.push(reply);
        Ok(url)
    }

    /// Writes what stands in the place of refs, and puts refs there.
    fn write_parts(
        &mut self,
        caller: &Caller,
        data: &mut Map<String, Value>,
        written: &mut Vec<Value>,
    ) -> Result<(), ApiError> {
        for (key, value) in std::mem::take(data) {
            let part = key.strip_suffix("_data").and_then(|field| Some((field, target(field)?)));
            let (key, value) = match (part, value) {
                (Some((field, kind)), Value::Object(one)) => {
                    (field.to_owned(), Value::String(self.write_nested(caller, kind, one, written)?))
                }
                (Some((field, kind)), Value::Array(many)) => {
                    let mut urls = Vec::with_capacity(many.len());
                    for one in many {
                        let Value::Object(one) = one else { return Err(no_object(&key)) };
                        urls.push(Value::String(self.write_nested(caller, kind, one, written)?));
                    }
                    (field.to_owned(), Value::Array(urls))
                }
                (Some(_), _) => return Err(no_object(&key)),
                (None, mut value) => {
                    self.write_within(caller, &mut value, written)?;
                    (key, value)
                }
            };
            data.insert(key, value);
        }
        Ok(())
    }

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

fn no_object(key: &str) -> ApiError {
    ApiError::new(400, format!("{key}: a JSON object is wanted, or a list of them"))
}
