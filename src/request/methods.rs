//! The methods that are let in, where no signature covers which one a request has.

use http::{HeaderValue, Method};

use crate::error::{ConfigError, ConfigErrorKind, Rejection};

/// A method that nobody signed is part of what is recorded: were every made-up one let in, a single
/// captured request could leave any number of records.
#[derive(Debug)]
pub(crate) struct Methods {
    known: Box<[Method]>,
    /// The value of `Allow`.
    allow: HeaderValue,
}

/// More than there are in any one service, and few enough to compare one by one.
const MOST: usize = 16;

impl Methods {
    pub(super) fn new(known: &[Method]) -> Result<Self, ConfigError> {
        ConfigError::unless(
            (1..=MOST).contains(&known.len()),
            "`methods` must name between 1 and 16 methods",
        )?;
        let names: Vec<_> = known.iter().map(Method::as_str).collect();
        let allow = HeaderValue::try_from(names.join(", "))
            .map_err(|_| ConfigErrorKind::Range("a method is not the value of a header".into()))?;
        Ok(Self {
            known: known.into(),
            allow,
        })
    }

    pub(super) fn check(&self, method: &Method) -> Result<(), Rejection> {
        if self.known.contains(method) {
            return Ok(());
        }
        Err(Rejection::method_not_allowed(
            format!("`{method}` is not one of the `methods`"),
            self.allow.clone(),
        ))
    }
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            known: [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ]
            .into(),
            allow: HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        }
    }
}
