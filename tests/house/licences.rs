//! Whether an expression of licences (SPDX) allows a use, if some licences are accepted.

/// An expression is `OR` of `AND` of licences and of expressions in parentheses. Older packages
/// write `/` for `OR`.
pub(crate) fn is_allowed(expression: &str, accepts: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = any(&mut words, accepts);
    allowed && words.next().is_none()
}

type Words<'e> = std::iter::Peekable<std::str::SplitWhitespace<'e>>;

fn any(words: &mut Words<'_>, accepts: &dyn Fn(&str) -> bool) -> bool {
    let mut allowed = all(words, accepts);
    while words.next_if_eq(&"OR").is_some() {
        allowed |= all(words, accepts);
    }
    allowed
}

fn all(words: &mut Words<'_>, accepts: &dyn Fn(&str) -> bool) -> bool {
    let mut allowed = one(words, accepts);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words, accepts);
    }
    allowed
}

fn one(words: &mut Words<'_>, accepts: &dyn Fn(&str) -> bool) -> bool {
    let mut licence = words.next().unwrap_or_default().to_owned();
    if licence == "(" {
        return any(words, accepts) && words.next() == Some(")");
    }
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    accepts(&licence)
}

#[test]
fn an_expression_is_read_as_spdx_says() {
    let accepts =
        |licence: &str| matches!(licence, "MIT" | "ISC" | "Apache-2.0 WITH LLVM-exception");
    let is = |expression| is_allowed(expression, &accepts);
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "GPL-3.0 AND ISC OR MIT",
    ] {
        assert!(is(expression), "{expression}");
    }
    for expression in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT",
        "MIT)",
        "MIT ISC",
        "Apache-2.0",
        "MIT AND (GPL-3.0 OR ISC AND GPL-3.0)",
        "GPL-3.0 OR MIT AND GPL-2.0",
    ] {
        assert!(!is(expression), "{expression}");
    }
}
