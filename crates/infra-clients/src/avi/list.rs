//! Lists, page by page. Owns the way from page to page, always at the controller that was asked. A call counts
//! towards the limit on calls only while a page is fetched.

use futures::Stream;
use serde_json::Value;

use super::api::Api;
use super::error::{Error, Kind};
use super::query::Query;
use super::reply::page;
use super::version::modernise;

struct Pages {
    api: Api,
    kind: &'static str,
    ready: std::vec::IntoIter<Value>,
    /// The query of the next page.
    next: Option<String>,
}

/// Returns the objects as they are fetched, with the newest field names.
pub(super) fn values(
    api: Api,
    kind: &'static str,
    query: &Query,
) -> impl Stream<Item = Result<Value, Error>> + Send + use<> {
    let first = query.clone().complete(kind).or_page_size(Query::LARGEST_PAGE).to_string();
    let pages = Pages { api, kind, ready: Vec::new().into_iter(), next: Some(first) };
    futures::stream::unfold(pages, |mut pages| async move {
        loop {
            if let Some(mut object) = pages.ready.next() {
                modernise(pages.kind, &mut object);
                return Some((Ok(object), pages));
            }
            let query = pages.next.take()?;
            if let Err(error) = pages.fetch(&query).await {
                return Some((Err(error), pages));
            }
        }
    })
}

impl Pages {
    async fn fetch(&mut self, query: &str) -> Result<(), Error> {
        let body = match self.api.page(self.kind, query).await {
            // The objects on the last page were deleted while the pages before were fetched.
            Err(error) if error.is_gone() && number(query) > 1 => return Ok(()),
            body => body?,
        };
        let page = page(body)?;
        if let Some(next) = &page.next
            && number(next) <= number(query)
        {
            return Err(Error::new(Kind::Protocol, "the controller names an earlier page as the next one"));
        }
        self.ready = page.results.into_iter();
        self.next = page.next;
        Ok(())
    }
}

/// Returns the number of the page that a query asks for; the first if it has none.
fn number(query: &str) -> u64 {
    let page = query.split('&').find_map(|pair| pair.strip_prefix("page="));
    page.map_or(1, |number| number.parse().unwrap_or(0))
}
