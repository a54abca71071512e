//! The requests that are signed: what each covers, and which bytes are changed on the way.

use std::time::Duration;

use countersign::{
    HttpMessageSignatures,
    rfc9421::{Component, FieldType, HttpMessageSignaturesBuilder},
    scheme::DigestAlgorithm,
};

pub const LABEL: &str = "sig1";

pub const EXPIRES_AFTER: Duration = Duration::from_secs(60);

/// The components that the default profile requires of a request without a body.
const REQUIRED: &[&str] = &["@method", "@authority", "@path", "@query"];

/// One request. Its covered components are written as the RFC writes them, or without quotes.
pub struct Case {
    pub name: &'static str,
    pub method: &'static str,
    pub target: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
    pub digest: Option<DigestAlgorithm>,
    pub covers: &'static [&'static str],
    /// The beginning of its nonce.
    pub nonce: &'static str,
    pub expires: bool,
    pub tag: Option<&'static str>,
    /// Text on the wire, and the text that is written over it there. To be refused, each by itself.
    pub changes: &'static [(&'static str, &'static str)],
}

const GET: Case = Case {
    name: "a GET without a body",
    method: "GET",
    target: "/accounts/7?expand=owner",
    headers: &[],
    body: "",
    digest: None,
    covers: REQUIRED,
    nonce: "n",
    expires: false,
    tag: None,
    changes: &[
        ("GET ", "PUT "),
        ("/accounts/7", "/accounts/8"),
        ("=owner", "=other"),
        ("127.0.0.1:", "127.0.0.2:"),
    ],
};

const POST: Case = Case {
    name: "a POST with sha-256",
    method: "POST",
    target: "/transfer",
    headers: &[("content-type", "application/json")],
    body: r#"{"amount":7,"to":"Zoë"}"#,
    digest: Some(DigestAlgorithm::Sha256),
    covers: &[
        "@method",
        "@authority",
        "@path",
        "@query",
        "content-digest",
        "content-type",
    ],
    changes: &[
        ("POST ", "LOCK "),
        (r#""amount":7"#, r#""amount":8"#),
        ("application/json", "application/jsom"),
        ("sha-256=:", "sha-256=:AAAA"),
        ("/transfer ", "/transfe? "),
    ],
    ..GET
};

pub const CASES: &[Case] = &[
    GET,
    POST,
    Case {
        name: "a POST with sha-512",
        digest: Some(DigestAlgorithm::Sha512),
        changes: &[
            (r#""amount":7"#, r#""amount":8"#),
            ("sha-512=:", "sha-512=:AAAA"),
        ],
        ..POST
    },
    Case {
        name: "an empty body and its digest",
        body: "",
        changes: &[("sha-256=:", "sha-256=:AAAA")],
        ..POST
    },
    Case {
        name: "a query of odd characters",
        target: "/a%2Fb/%E2%82%AC;v=1/~x?q=a+b%20c&e=&k%2By=%2B&x=1:2/3?4@5!$()*,;=-._~&&end",
        changes: &[("a+b%20c", "a+b+20c"), ("&&end", "&;end"), ("%2Fb", "%2fb")],
        ..GET
    },
    Case {
        name: "a quote in the query",
        target: "/notes?q=it's",
        changes: &[("it's", "it%s")],
        ..GET
    },
    Case {
        name: "a parameter of the query",
        target: "/transfer?account=seven&memo=rent",
        covers: &[
            "@method",
            "@authority",
            "@path",
            r#""@query-param";name="account""#,
        ],
        changes: &[("=seven", "=eight"), ("?account=", "?accouns=")],
        ..GET
    },
    Case {
        name: "a parameter of the query that is encoded",
        target: "/transfer?fa%C3%A7ade=a+b%20%26&memo=rent",
        covers: &[
            "@method",
            "@authority",
            "@path",
            r#""@query-param";name="fa%C3%A7ade""#,
        ],
        changes: &[("a+b%20", "a+c%20")],
        ..GET
    },
    Case {
        name: "a parameter of the query with marks",
        target: "/transfer?memo=(rent)!~",
        covers: &[
            "@method",
            "@authority",
            "@path",
            r#""@query-param";name="memo""#,
        ],
        changes: &[("(rent)", "(rest)")],
        ..GET
    },
    Case {
        name: "several fields",
        headers: &[
            ("content-type", "text/plain; charset=utf-8"),
            ("x-tenant", "acme, inc."),
            ("x-empty", ""),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ],
        covers: &[
            "@method",
            "@authority",
            "@path",
            "@query",
            "x-tenant",
            "x-empty",
            "date",
            "content-digest",
            "content-type",
        ],
        changes: &[("acme, inc.", "acme; inc."), ("20 Apr", "21 Apr")],
        ..POST
    },
    Case {
        name: "a field in two lines",
        headers: &[("x-tag", "a, b"), ("x-tag", "c")],
        covers: &["@method", "@authority", "@path", "@query", "x-tag"],
        changes: &[("a, b", "b, a")],
        ..GET
    },
    Case {
        name: "every parameter of a signature",
        nonce: "a nonce of 1 + 1 =",
        expires: true,
        tag: Some("payments/v1"),
        changes: &[
            ("a nonce", "b nonce"),
            ("payments/v1", "payments/v2"),
            ("hmac-sha256", "hmac-sha257"),
            (";expires=1", ";expires=9"),
        ],
        ..POST
    },
    Case {
        name: "a nonce that has to be escaped",
        nonce: r#"a "quoted" \"#,
        changes: &[("quoted", "quoteb")],
        ..GET
    },
    Case {
        name: "the URI of the target",
        covers: &["@method", "@target-uri"],
        changes: GET.changes,
        ..GET
    },
    Case {
        name: "the target of the request, and the scheme",
        covers: &["@method", "@authority", "@scheme", "@request-target"],
        changes: GET.changes,
        ..GET
    },
    Case {
        name: "sf",
        headers: &[("priority", "u=2,   i;x=?1")],
        covers: &[
            "@method",
            "@authority",
            "@path",
            "@query",
            r#""priority";sf"#,
        ],
        changes: &[("u=2,", "u=3,"), ("i;x=?1", "i;x=?0")],
        ..GET
    },
    Case {
        name: "key",
        headers: &[
            ("content-type", "text/plain"),
            ("example-dict", "a=1,  b=2;x=1;y=2,  c=(a   b   c), d"),
        ],
        covers: &[
            "@method",
            "@authority",
            "@path",
            "@query",
            r#""example-dict";key="b""#,
            r#""example-dict";key="c""#,
            r#""example-dict";key="d""#,
            r#""content-digest";key="sha-256""#,
            "content-type",
        ],
        changes: &[
            ("b=2;", "b=3;"),
            ("b   c), d", "b   d), d"),
            (r#""amount":7"#, r#""amount":8"#),
            ("sha-256=:", "sha-256=:AAAA"),
        ],
        ..POST
    },
    Case {
        name: "bs",
        headers: &[("x-list", "value, with, lots")],
        covers: &["@method", "@authority", "@path", "@query", r#""x-list";bs"#],
        changes: &[("with, lots", "with; lots")],
        ..GET
    },
    Case {
        name: "bs of two lines",
        headers: &[("x-list", "value, with, lots"), ("x-list", "of, commas")],
        covers: &["@method", "@authority", "@path", "@query", r#""x-list";bs"#],
        changes: &[("of, commas", "of; commas")],
        ..GET
    },
];

/// Covers what is not there; no part of [`CASES`], for who signs it is wrong.
pub const ABSENT: Case = Case {
    name: "a field that is not there",
    covers: &["@method", "@authority", "@path", "@query", "x-absent"],
    ..GET
};

impl Case {
    /// The identifiers of what it covers.
    pub fn covers(&self) -> Vec<String> {
        let quoted = |component: &&str| match component.strip_prefix('"') {
            Some(_) => (*component).to_owned(),
            None => format!("\"{component}\""),
        };
        self.covers.iter().map(quoted).collect()
    }

    pub fn digest_name(&self) -> Option<&'static str> {
        self.digest.map(|algorithm| match algorithm {
            DigestAlgorithm::Sha512 => "sha-512",
            _ => "sha-256",
        })
    }

    /// The profile that requires just what is covered: the default one, as far as that will do.
    pub fn scheme(&self) -> HttpMessageSignatures {
        let components = self.covers().into_iter().map(|c| c.parse::<Component>());
        let components = components.map(|component| component.expect("a component"));
        let mut builder = HttpMessageSignatures::builder()
            .label(LABEL)
            .structured_field("example-dict", FieldType::Dictionary);
        builder = if self.covers.starts_with(REQUIRED) {
            components.fold(builder, HttpMessageSignaturesBuilder::covers)
        } else {
            builder.danger_require_only(components)
        };
        if let Some(digest) = self.digest {
            builder = builder.digest(digest);
        }
        if self.expires {
            builder = builder.expires_after(EXPIRES_AFTER);
        }
        if let Some(tag) = self.tag {
            builder = builder.tag(tag);
        }
        builder.build().expect("a profile that is valid")
    }
}
