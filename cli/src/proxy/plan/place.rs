//! Where a route applies: host, path and methods.

use http::Method;
use toml::Spanned;

use super::{
    super::{
        path,
        place::{Part, Place, TENANT},
    },
    routes::Reading,
};
use crate::toml_file::Fault;

impl Reading<'_> {
    pub(super) fn place(&self) -> Result<Place, Fault> {
        let written = self.written;
        let host = match &written.host {
            None => None,
            Some(host) => {
                let authority = host.get_ref().parse::<http::uri::Authority>();
                let is_host = authority.is_ok_and(|read| !read.as_str().contains('@'));
                if !is_host {
                    return Err(Fault::at(host.span(), "it is not the name of a host")
                        .advising("write a name such as \"api.example.com\""));
                }
                Some(host.get_ref().to_ascii_lowercase())
            }
        };
        let mut methods = Vec::new();
        for method in written.methods.iter().flat_map(Spanned::get_ref) {
            let read = Method::from_bytes(method.get_ref().as_bytes()).ok();
            let read = read.filter(|read| {
                *read != Method::CONNECT && !read.as_str().contains(char::is_lowercase)
            });
            methods.push(read.ok_or_else(|| {
                Fault::at(method.span(), "it is not a method that can be forwarded")
                    .advising("write methods in capital letters, such as \"POST\"")
            })?);
        }
        if let Some(listed) = &written.methods
            && methods.is_empty()
        {
            return Err(Fault::at(listed.span(), "the route names no method")
                .advising("leave out `methods` for a route of every method"));
        }
        Ok(Place {
            host,
            path: written.path.get_ref().clone(),
            prefix: self.prefix()?,
            methods,
        })
    }

    fn prefix(&self) -> Result<Vec<Part>, Fault> {
        let path = &self.written.path;
        let segments = path::segments(path.get_ref()).map_err(|unclear| {
            Fault::at(path.span(), unclear.to_string())
                .advising("write a path such as \"/transfers\", or \"/\" for every path")
        })?;
        let is_tenant = |segment: &path::Segment<'_>| segment.sent == TENANT;
        // They would be compared as they are, though they look like patterns.
        let mut plain = segments.iter().filter(|segment| !is_tenant(segment));
        if plain.any(|segment| segment.sent.contains(['*', '{', '}', '?', '#'])) {
            return Err(
                Fault::at(path.span(), "`{tenant}` is the only pattern of a path").advising(
                    "write the beginning of the path: a route serves all paths below its own",
                ),
            );
        }
        if segments.iter().filter(|segment| is_tenant(segment)).count() > 1 {
            return Err(Fault::at(path.span(), "a path names one tenant"));
        }
        let parts = segments
            .into_iter()
            .map(|segment| match is_tenant(&segment) {
                true => Part::Tenant,
                false => Part::Text(segment.compared),
            });
        Ok(parts.collect())
    }
}
