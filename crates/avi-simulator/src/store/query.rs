//! Parsed queries of lists and reads. Knows no objects.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::ApiError;

/// The largest page size.
pub const MAX_PAGE_SIZE: usize = 200;

/// The characters that are encoded as `%XX` in `next`, because they have a meaning in a query.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?');

/// Parameters without effect on which objects are listed.
const WITHOUT_EFFECT: &[&str] =
    &["_", "detail", "export_key", "flatten", "force", "full_system", "headers_only", "include_refs"];

/// A condition that listed objects must satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `name=`: the complete name.
    Name(String),
    /// `name.in=a,b`.
    NameIn(Vec<String>),
    /// `name.contains=`.
    NameContains(String),
    /// `uuid=`.
    Uuid(String),
    /// `cloud_ref.name=`, or `cloud=`.
    CloudName(String),
    /// `cloud_ref.uuid=` or `cloud_uuid=`.
    CloudUuid(String),
    /// `created_by=`.
    CreatedBy(String),
    /// `label_key=`, with `label_value=` or with any value: an entry of `markers` or `labels`.
    Label(String, Option<String>),
    /// `refers_to=<kind>:<uuid>`: the object has a ref to that one.
    RefersTo(String, String),
    /// `referred_by=<kind>:<uuid>`: that object has a ref to this one.
    ReferredBy(String, String),
    /// `<field>_ref.name=`: the target of the ref has that name.
    RefName(String, String),
    /// `<field>_ref.uuid=`.
    RefUuid(String, String),
    /// `<field>=`: the field's value as text. The field may be a dotted path.
    Field(String, String),
}

/// A parsed query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The conditions; all must be satisfied.
    pub filters: Vec<Filter>,
    /// `fields=a,b`: the fields of the reply; empty: all.
    pub fields: Vec<String>,
    /// `sort=-name`: whether the order is descending, and the field.
    pub sort: Vec<(bool, String)>,
    /// `include_name`: refs and `url` end with `#name`.
    pub include_name: bool,
    /// `skip_default`: the reply lacks fields with their default value.
    pub skip_default: bool,
    /// `include_service_accounts`: lists also contain users with `service_user`.
    pub include_service_accounts: bool,
    /// `join_subresources=runtime`.
    pub join: Vec<String>,
    /// `page`, from 1.
    pub page: usize,
    /// `page_size`, from 1 to [`MAX_PAGE_SIZE`], which replaces a larger value.
    pub page_size: Option<usize>,
    /// The decoded parameters except `page`, for `next`.
    pub(super) pairs: Vec<(String, Option<String>)>,
}

impl Query {
    /// Parses a query, with or without `?` at the start. Ignores empty parameters.
    ///
    /// # Errors
    /// 400 for a `page` or `page_size` that is not a number above 0, and for a `refers_to` or `referred_by` that is not
    /// `<kind>:<uuid>`.
    pub fn parse(raw: &str) -> Result<Query, ApiError> {
        let mut query = Query { page: 1, ..Query::default() };
        let mut label: (Option<String>, Option<String>) = (None, None);
        for part in raw.trim_start_matches('?').split('&').filter(|part| !part.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (decode(key), Some(decode(value))),
                None => (decode(part), None),
            };
            let text = value.clone().unwrap_or_default();
            match key.as_str() {
                "page" => query.page = parse_positive("page", &text)?,
                "page_size" => query.page_size = Some(parse_positive("page_size", &text)?.min(MAX_PAGE_SIZE)),
                "fields" => query.fields.extend(split_list(&text)),
                "sort" => query.sort.extend(split_list(&text).map(|field| parse_sort(&field))),
                "include_name" => query.include_name = parse_flag(value.as_deref()),
                "skip_default" => query.skip_default = parse_flag(value.as_deref()),
                "include_service_accounts" => query.include_service_accounts = parse_flag(value.as_deref()),
                "join_subresources" => query.join.extend(split_list(&text)),
                "label_key" => label.0 = Some(text),
                "label_value" => label.1 = Some(text),
                "cloud_uuid" => query.filters.push(Filter::CloudUuid(text)),
                other if WITHOUT_EFFECT.contains(&other) => {}
                _ => query.filters.push(parse_filter(&key, text)?),
            }
            if key != "page" {
                query.pairs.push((key, value));
            }
        }
        if let Some(key) = label.0 {
            query.filters.push(Filter::Label(key, label.1));
        }
        Ok(query)
    }

    /// Returns the query with another `page`.
    #[must_use]
    pub fn at_page(&self, page: usize) -> String {
        let mut out = String::new();
        for (key, value) in &self.pairs {
            let _ = write!(out, "{}", utf8_percent_encode(key, RESERVED));
            if let Some(value) = value {
                let _ = write!(out, "={}", utf8_percent_encode(value, RESERVED));
            }
            out.push('&');
        }
        let _ = write!(out, "page={page}");
        out
    }

    /// Returns a key that is equal for queries that list the same objects in the same order.
    pub(super) fn selection_key(&self) -> String {
        format!("{:?}{:?}{}", self.filters, self.sort, self.include_service_accounts)
    }
}

fn parse_filter(key: &str, text: String) -> Result<Filter, ApiError> {
    Ok(match key {
        "name" => Filter::Name(text),
        "name.in" => Filter::NameIn(split_list(&text).collect()),
        "name.contains" => Filter::NameContains(text),
        "uuid" => Filter::Uuid(text),
        "cloud_ref.name" | "cloud" => Filter::CloudName(text),
        "cloud_ref.uuid" => Filter::CloudUuid(text),
        "created_by" => Filter::CreatedBy(text),
        "refers_to" => parse_pointer(key, &text).map(|(kind, uuid)| Filter::RefersTo(kind, uuid))?,
        "referred_by" => parse_pointer(key, &text).map(|(kind, uuid)| Filter::ReferredBy(kind, uuid))?,
        _ => match key.rsplit_once('.') {
            Some((field, "name")) if field.ends_with("_ref") => Filter::RefName(field.to_owned(), text),
            Some((field, "uuid")) if field.ends_with("_ref") => Filter::RefUuid(field.to_owned(), text),
            _ => Filter::Field(key.to_owned(), text),
        },
    })
}

fn parse_pointer(key: &str, text: &str) -> Result<(String, String), ApiError> {
    match text.split_once(':') {
        Some((kind, uuid)) if !kind.is_empty() && !uuid.is_empty() => {
            Ok((kind.to_lowercase(), uuid.to_owned()))
        }
        _ => Err(ApiError::new(400, format!("Invalid {key} '{text}': write <type>:<uuid>"))),
    }
}

fn parse_positive(key: &str, text: &str) -> Result<usize, ApiError> {
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => Err(ApiError::new(400, format!("Invalid {key} '{text}': write a number above 0"))),
    }
}

fn split_list(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

/// Parses a field of `sort`: whether the order is descending, and the name. `+f` is decoded to ` f`, which
/// [`split_list`] trims.
fn parse_sort(field: &str) -> (bool, String) {
    match field.strip_prefix('-') {
        Some(rest) => (true, rest.to_owned()),
        None => (false, field.trim_start_matches('+').to_owned()),
    }
}

fn parse_flag(value: Option<&str>) -> bool {
    !value.is_some_and(|value| value.eq_ignore_ascii_case("false") || value == "0")
}

/// Decodes `%XX` and `+`. Bytes that are not UTF-8 become U+FFFD, which no name contains.
pub(super) fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}
