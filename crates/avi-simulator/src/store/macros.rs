//! `POST /api/macro`: an object and those it refers to in one request, as AKO sent them before it wrote one by one.
//!
//! `{"model_name": "VirtualService", "data": {…}}`; where a ref would stand, `<field>_data` holds the object itself (or
//! a list of them for `<field>s_data`). What exists under its name is replaced, what does not is made.

use serde_json::{Map, Value};

use super::kind::{KINDS, Kind};
use super::refs::target;
use super::{ADMIN, Store, text};
use crate::{ApiError, Caller, Scope};

impl Store {
    /// The objects written, innermost first, each as its own POST or PUT would have given it.
    ///
    /// # Errors
    /// As [`create`](Store::create) and [`replace`](Store::replace); what was written before the error stays.
    pub fn macro_(&mut self, caller: &Caller, mut body: Value) -> Result<Value, ApiError> {
        let wanted = text(&body, "model_name").to_owned();
        let kind = KINDS
            .iter()
            .find(|kind| kind.model.eq_ignore_ascii_case(&wanted))
            .ok_or_else(|| ApiError::new(400, format!("Invalid model_name '{wanted}'")))?;
        let Some(Value::Object(data)) = body.get_mut("data").map(Value::take) else {
            return Err(ApiError::new(400, "data: This field is required."));
        };
        let mut written = Vec::new();
        self.write_nested(caller, kind, data, &mut written)?;
        Ok(Value::Array(written))
    }

    fn write_nested(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        mut data: Map<String, Value>,
        written: &mut Vec<Value>,
    ) -> Result<String, ApiError> {
        let nested: Vec<String> = data.keys().filter(|key| key.ends_with("_data")).cloned().collect();
        for key in nested {
            let field = key.trim_end_matches("_data").to_owned();
            let Some(inner) = target(&field) else { continue };
            match data.remove(&key) {
                Some(Value::Object(one)) => {
                    let url = self.write_nested(caller, inner, one, written)?;
                    data.insert(field, Value::String(url));
                }
                Some(Value::Array(many)) => {
                    let mut urls = Vec::with_capacity(many.len());
                    for one in many.into_iter().filter_map(|one| one.as_object().cloned()) {
                        urls.push(Value::String(self.write_nested(caller, inner, one, written)?));
                    }
                    data.insert(field, Value::Array(urls));
                }
                _ => {}
            }
        }
        let tenant = match &caller.scope {
            Scope::Tenant(tenant) => tenant.as_str(),
            Scope::All => ADMIN,
        };
        let reply = match self.there_already(kind, &data, tenant)? {
            // Where the data says it is, which need not be where the request is.
            Some(known) if kind.tenanted() => {
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
}
