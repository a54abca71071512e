//! The words of a command line, as a shell of POSIX reads them, with the `$'…'` of bash.

use std::{iter::Peekable, str::Chars};

/// Splits a command line. `None` if a quote is never closed.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ';' | '|' | '&' if word.is_none() => break,
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => match chars.next() {
                None | Some('\n') => {}
                // A line of Windows ends in both.
                Some('\r') if chars.peek() == Some(&'\n') => {
                    chars.next();
                }
                Some(c) => word.get_or_insert_default().push(c),
            },
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        '\\' => word.push(escape(&mut chars)?),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads an escape of `$'…'`.
fn escape(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' => number(chars, 2)?,
        'u' => number(chars, 4)?,
        'U' => number(chars, 8)?,
        c => c,
    })
}

/// Reads up to so many hexadecimal digits.
fn number(chars: &mut Peekable<Chars<'_>>, most: usize) -> Option<char> {
    let mut number = 0;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(16)) else {
            break;
        };
        number = number * 16 + digit;
        chars.next();
    }
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("curl -H 'a: b' x", &["curl", "-H", "a: b", "x"]),
            ("curl \\\n  \"a\\\"b\" c\\ d", &["curl", "a\"b", "c d"]),
            (r"curl $'a\'b\u00e9\n' ''", &["curl", "a'b\u{e9}\n", ""]),
            ("curl x | jq .", &["curl", "x"]),
            ("curl x?a=1&b=2", &["curl", "x?a=1&b=2"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).unwrap(), *words, "{text}");
        }
        assert_eq!(split("curl 'x"), None);
    }
}
