//! A request that is signed for one address, and sent to another.

use http::{
    Uri,
    uri::{InvalidUri, PathAndQuery},
};

/// Returns the URL that clients write, for a request to this target.
pub(crate) fn at_origin(origin: &str, target: &Uri) -> Result<Uri, InvalidUri> {
    let path = target.path_and_query().map_or("/", PathAndQuery::as_str);
    format!("{}{path}", origin.trim_end_matches('/')).parse()
}
