//! Stands where the store will be.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "a placeholder, gone soon")]
use std::collections::BTreeMap;
use serde_json::{Value, json};
use crate::{ApiError, Assumptions, Caller, Rules};
#[derive(Default)]
pub struct Store { objects: BTreeMap<String, BTreeMap<String, Value>> }
pub struct Kind { pub singleton: bool }
pub struct Query;
impl Query { pub fn parse(_: &str) -> Result<Query, ApiError> { Ok(Query) } }
#[derive(Debug, Clone, serde::Serialize)] pub struct Snapshot;
#[derive(Debug, Clone, serde::Serialize)] pub struct Diff;
impl Store {
    pub fn new(_: Rules, _: Assumptions) -> Store {
        let mut s = Store::default();
        s.put("tenant", json!({"uuid": "admin", "name": "admin"}));
        s.put("user", json!({"uuid": "user-1", "name": "admin", "username": "admin", "is_superuser": true}));
        s
    }
    fn put(&mut self, k: &str, v: Value) { let u = v["uuid"].as_str().unwrap_or("x").to_owned(); self.objects.entry(k.into()).or_default().insert(u, v); }
    pub fn kind(_: &str) -> Option<&'static Kind> { Some(&Kind { singleton: false }) }
    pub fn object(&self, k: &str, u: &str) -> Option<&Value> { self.objects.get(k)?.get(u) }
    pub fn objects(&self, k: &str) -> impl Iterator<Item = &Value> { self.objects.get(k).into_iter().flat_map(BTreeMap::values) }
    pub fn list(&self, _: &Caller, k: &str, _: &Query) -> Result<Value, ApiError> { let r: Vec<_> = self.objects(k).collect(); Ok(json!({"count": r.len(), "results": r})) }
    pub fn get(&self, _: &Caller, k: &str, u: &str, _: &Query) -> Result<Value, ApiError> { self.object(k, u).cloned().ok_or_else(|| ApiError::new(404, "not found")) }
    pub fn create(&mut self, c: &Caller, k: &str, s: Option<&str>, mut b: Value) -> Result<Value, ApiError> {
        let u = s.map_or_else(|| format!("{k}-{}", uuid::Uuid::new_v4()), str::to_owned);
        b["uuid"] = json!(u); b["url"] = json!(format!("{}/api/{k}/{u}#x", c.base)); self.put(k, b.clone()); Ok(b)
    }
    pub fn replace(&mut self, _: &Caller, k: &str, u: &str, mut b: Value) -> Result<Value, ApiError> { b["uuid"] = json!(u); self.put(k, b.clone()); Ok(b) }
    pub fn patch(&mut self, c: &Caller, k: &str, u: &str, b: Value) -> Result<Value, ApiError> { self.replace(c, k, u, b) }
    pub fn delete(&mut self, _: &Caller, k: &str, u: &str) -> Result<(), ApiError> { self.objects.get_mut(k).and_then(|m| m.remove(u)).map(|_| ()).ok_or_else(|| ApiError::new(404, "not found")) }
    pub fn macro_(&mut self, c: &Caller, b: Value) -> Result<Value, ApiError> { self.create(c, "x", None, b) }
    pub fn seed(&mut self, _: Value, _: u64) -> Result<(), ApiError> { Ok(()) }
    pub fn snapshot(&self) -> Snapshot { Snapshot }
    pub fn diff(&self, _: &Snapshot) -> Diff { Diff }
    pub fn check(&self) -> Vec<String> { Vec::new() }
}
