//! Secrets of the command line: reports are passed on, and show a mask in their place.

use http::HeaderName;

use super::subject::Template;

pub(super) const MASK: &str = "***";

/// The shortest text that is looked for in answers.
const SHORTEST: usize = 6;

/// Parts of the names of headers whose values are secret.
const SECRET: [&str; 9] = [
    "auth",
    "cookie",
    "token",
    "secret",
    "password",
    "credential",
    "session",
    "api-key",
    "apikey",
];

/// Returns whether a header of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|secret| name.contains(secret))
}

/// The headers to mask in requests, and the texts to mask in answers.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    names: Vec<HeaderName>,
    texts: Vec<String>,
}

impl Mask {
    pub(crate) fn of(template: &Template) -> Self {
        let secret = template.headers.iter();
        let secret = secret.filter(|(name, _)| is_secret(name.as_str()));
        let mut mask = Self::default();
        for (name, value) in secret {
            mask.names.push(name.clone());
            // A debugging page may show the whole value, or one cookie of it.
            let parts = value.split([' ', ';', '=']).chain([value.as_str()]);
            let is_fixed = |part: &&str| part.len() >= SHORTEST && !part.contains('{');
            mask.texts.extend(parts.filter(is_fixed).map(str::to_owned));
        }
        mask.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        mask
    }

    pub(super) fn hides(&self, name: &HeaderName) -> bool {
        self.names.contains(name)
    }

    /// The text with a mask in place of what is secret.
    pub(super) fn masked(&self, text: String) -> String {
        self.texts
            .iter()
            .fold(text, |text, secret| text.replace(secret, MASK))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn values_of_secret_headers_are_masked_wherever_they_are() {
        let headers = [
            ("authorization", "Bearer abcdefgh"),
            ("cookie", "a=ijklmnop; b=2"),
            ("x-tenant", "qrstuvwx"),
        ];
        let mask = Mask::of(&Template {
            method: http::Method::POST,
            url: String::new(),
            headers: headers
                .map(|(n, v)| (n.parse().unwrap(), v.to_owned()))
                .into(),
            body: Bytes::new(),
        });
        let echoed = "Bearer abcdefgh, abcdefgh, ijklmnop, qrstuvwx".to_owned();
        assert_eq!(mask.masked(echoed), "***, ***, ***, qrstuvwx");
        assert!(mask.hides(&http::header::COOKIE));
        assert!(!mask.hides(&HeaderName::from_static("x-tenant")));
    }
}
