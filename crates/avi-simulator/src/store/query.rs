//! The query of a list or a read: parsed once, never looked at as text again. Knows no objects.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::ApiError;

/// The largest page a controller gives.
pub const MAX_PAGE_SIZE: usize = 200;

/// What has a meaning in a query, and so is written as `%XX` in `next`.
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

/// Parameters that select nothing: they change the form of the reply, or only matter to a browser.
const WITHOUT_EFFECT: &[&str] =
    &["_", "detail", "export_key", "flatten", "force", "full_system", "headers_only", "include_refs"];

/// What an object must be to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `name=`: the whole name.
    Name(String),
    /// `name.in=a,b`.
    NameIn(Vec<String>),
    /// `name.contains=`.
    NameContains(String),
    /// `uuid=`.
    Uuid(String),
    /// `cloud_ref.name=`.
    CloudName(String),
    /// `cloud_ref.uuid=` or `cloud_uuid=`.
    CloudUuid(String),
    /// `created_by=`.
    CreatedBy(String),
    /// `label_key=`, with `label_value=` or any value: in `markers` or `labels`.
    Label(String, Option<String>),
    /// `refers_to=<kind>:<uuid>`: it has a ref to that object.
    RefersTo(String, String),
    /// `referred_by=<kind>:<uuid>`: that object has a ref to it.
    ReferredBy(String, String),
    /// `<field>_ref.name=`: the object referred to has that name.
    RefName(String, String),
    /// `<field>_ref.uuid=`.
    RefUuid(String, String),
    /// `<field>=`: the field's value, as text. Dots lead into objects.
    Field(String, String),
}

/// A parsed query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// All of them must match.
    pub filters: Vec<Filter>,
    /// `fields=a,b`: the fields wanted; empty is all.
    pub fields: Vec<String>,
    /// `sort=-name`: descending or not, and the field.
    pub sort: Vec<(bool, String)>,
    /// `include_name`: refs and `url` carry `#name`.
    pub include_name: bool,
    /// `skip_default`: fields at their default are left out.
    pub skip_default: bool,
    /// `include_service_accounts`: users with `service_user` are listed too.
    pub include_service_accounts: bool,
    /// `join_subresources=runtime`.
    pub join: Vec<String>,
    /// `page`, from 1.
    pub page: usize,
    /// `page_size`, 1 to [`MAX_PAGE_SIZE`]; more is taken as the most.
    pub page_size: Option<usize>,
    /// The parameters as they came, decoded, without `page`: what `next` repeats.
    pub(super) pairs: Vec<(String, Option<String>)>,
}

impl Query {
    /// Parses what stands behind the `?`. A question mark in front and empty parameters are tolerated.
    ///
    /// # Errors
    /// 400 for a `page` or `page_size` that is no number above 0, and for a `refers_to` or `referred_by` that is not
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
                "page" => query.page = positive("page", &text)?,
                "page_size" => query.page_size = Some(positive("page_size", &text)?.min(MAX_PAGE_SIZE)),
                "fields" => query.fields.extend(listed(&text)),
                "sort" => query.sort.extend(listed(&text).map(|field| sorted(&field))),
                "include_name" => query.include_name = truth(value.as_deref()),
                "skip_default" => query.skip_default = truth(value.as_deref()),
                "include_service_accounts" => query.include_service_accounts = truth(value.as_deref()),
                "join_subresources" => query.join.extend(listed(&text)),
                "label_key" => label.0 = Some(text),
                "label_value" => label.1 = Some(text),
                "cloud_uuid" => query.filters.push(Filter::CloudUuid(text)),
                other if WITHOUT_EFFECT.contains(&other) => {}
                _ => query.filters.push(filter(&key, text)?),
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

    /// The query of the page `page`: everything that was asked, and `page`.
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

    /// What decides which objects are listed and in which order: queries with the same key have the same pages.
    pub(super) fn selection(&self) -> String {
        format!("{:?}{:?}{}", self.filters, self.sort, self.include_service_accounts)
    }
}

fn filter(key: &str, text: String) -> Result<Filter, ApiError> {
    Ok(match key {
        "name" => Filter::Name(text),
        "name.in" => Filter::NameIn(listed(&text).collect()),
        "name.contains" => Filter::NameContains(text),
        "uuid" => Filter::Uuid(text),
        "cloud_ref.name" => Filter::CloudName(text),
        "cloud_ref.uuid" => Filter::CloudUuid(text),
        "created_by" => Filter::CreatedBy(text),
        "refers_to" => pointed(key, &text).map(|(kind, uuid)| Filter::RefersTo(kind, uuid))?,
        "referred_by" => pointed(key, &text).map(|(kind, uuid)| Filter::ReferredBy(kind, uuid))?,
        _ => match key.rsplit_once('.') {
            Some((field, "name")) if field.ends_with("_ref") => Filter::RefName(field.to_owned(), text),
            Some((field, "uuid")) if field.ends_with("_ref") => Filter::RefUuid(field.to_owned(), text),
            _ => Filter::Field(key.to_owned(), text),
        },
    })
}

fn pointed(key: &str, text: &str) -> Result<(String, String), ApiError> {
    match text.split_once(':') {
        Some((kind, uuid)) if !kind.is_empty() && !uuid.is_empty() => {
            Ok((kind.to_lowercase(), uuid.to_owned()))
        }
        _ => Err(ApiError::new(400, format!("Invalid {key} '{text}': <type>:<uuid> is wanted"))),
    }
}

fn positive(key: &str, text: &str) -> Result<usize, ApiError> {
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => Err(ApiError::new(400, format!("Invalid {key} '{text}': a number above 0 is wanted"))),
    }
}

fn listed(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

/// `+f` reaches us as ` f`, which [`listed`] has trimmed.
fn sorted(field: &str) -> (bool, String) {
    match field.strip_prefix('-') {
        Some(rest) => (true, rest.to_owned()),
        None => (false, field.trim_start_matches('+').to_owned()),
    }
}

fn truth(value: Option<&str>) -> bool {
    !value.is_some_and(|value| value.eq_ignore_ascii_case("false") || value == "0")
}

/// `%XX` and `+`; bytes that are no UTF-8 become U+FFFD, as a name can never be that.
pub(super) fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}
