//! Reads JSON strictly and writes it again as it reads; nothing is kept but the members of objects
//! that are still open.

use std::{borrow::Cow, ops::Range, str};

use memchr::memchr2;

use super::{
    form::{JsonForm, MAX_DEPTH},
    number,
};

type Why = Cow<'static, str>;

impl JsonForm {
    /// The document in this form; the fault says why it has none.
    pub(crate) fn rewrite(self, document: &[u8]) -> Result<Vec<u8>, Why> {
        let text = str::from_utf8(document).map_err(|_| "the body is not UTF-8")?;
        let mut rewriter = Rewriter {
            form: self,
            len: text.len(),
            rest: text,
            out: Vec::with_capacity(text.len()),
        };
        rewriter.skip_space();
        rewriter.value(0)?;
        rewriter.skip_space();
        if rewriter.rest.is_empty() {
            Ok(rewriter.out)
        } else {
            Err(rewriter.fault("something follows the document"))
        }
    }
}

struct Rewriter<'d> {
    form: JsonForm,
    len: usize,
    rest: &'d str,
    out: Vec<u8>,
}

/// A member of an open object, and its place in the output, with the comma behind it.
struct Member<'d> {
    name: Cow<'d, str>,
    written: Range<usize>,
}

impl<'d> Rewriter<'d> {
    fn value(&mut self, depth: usize) -> Result<(), Why> {
        match self.rest.as_bytes().first() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.fault(&format!(
                "objects and arrays are more than {MAX_DEPTH} deep"
            ))),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => {
                let text = self.string()?;
                self.form.write_string(&text, &mut self.out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let literals = ["true", "false", "null"];
                let literal = literals.into_iter().find(|literal| self.takes(literal));
                let literal = literal.ok_or_else(|| self.fault("there is no JSON value"))?;
                self.out.extend_from_slice(literal.as_bytes());
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Why> {
        let (comma, _) = self.form.separators();
        self.out.push(b'[');
        let elements = self.each_until("]", |this| {
            this.value(depth)?;
            this.out.extend_from_slice(comma.as_bytes());
            Ok(())
        })?;
        self.close(elements, b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Why> {
        let form = self.form;
        let (comma, colon) = form.separators();
        self.out.push(b'{');
        let start = self.out.len();
        let mut members: Vec<Member<'d>> = Vec::new();
        let count = self.each_until("}", |this| {
            if !this.rest.starts_with('"') {
                return Err(this.fault("a member has no name"));
            }
            let from = this.out.len();
            let name = this.string()?;
            form.write_string(&name, &mut this.out);
            this.skip_space();
            if !this.takes(":") {
                return Err(this.fault("a member has no value"));
            }
            this.out.extend_from_slice(colon.as_bytes());
            this.skip_space();
            this.value(depth)?;
            this.out.extend_from_slice(comma.as_bytes());
            let written = from - start..this.out.len() - start;
            members.push(Member { name, written });
            Ok(())
        })?;

        let in_order =
            |one: &Member<'_>, other: &Member<'_>| form.order(&one.name, &other.name).is_lt();
        if !members.is_sorted_by(in_order) {
            members.sort_unstable_by(|one, other| form.order(&one.name, &other.name));
            if !members.is_sorted_by(in_order) {
                return Err(self.fault("two members of the object that ends here have one name"));
            }
            let written = self.out.split_off(start);
            let sorted = members
                .iter()
                .filter_map(|member| written.get(member.written.clone()));
            sorted.for_each(|member| self.out.extend_from_slice(member));
        }
        self.close(count, b'}');
        Ok(())
    }

    /// Reads all items between brackets, and the commas. `each` writes an item with a comma behind
    /// it.
    fn each_until(
        &mut self,
        end: &str,
        mut each: impl FnMut(&mut Self) -> Result<(), Why>,
    ) -> Result<usize, Why> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.skip_space();
        if self.takes(end) {
            return Ok(0);
        }
        for count in 1.. {
            each(self)?;
            self.skip_space();
            if self.takes(end) {
                return Ok(count);
            }
            if !self.takes(",") {
                break;
            }
            self.skip_space();
        }
        Err(self.fault("an object or an array is neither continued nor closed"))
    }

    /// The last one has no comma behind it.
    fn close(&mut self, count: usize, bracket: u8) {
        if count > 0 {
            let (comma, _) = self.form.separators();
            self.out.truncate(self.out.len() - comma.len());
        }
        self.out.push(bracket);
    }

    fn string(&mut self) -> Result<Cow<'d, str>, Why> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        let mut has_escapes = false;
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            let at =
                memchr2(b'"', b'\\', rest).ok_or_else(|| self.fault("a string does not end"))?;
            end += at + 1;
            if rest.get(at) == Some(&b'"') {
                break;
            }
            has_escapes = true;
            end += 1;
        }
        let (token, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        let text = if has_escapes {
            serde_json::from_str(token).ok().map(Cow::Owned)
        } else {
            let text = token.get(1..token.len() - 1).unwrap_or_default();
            let is_plain = !text.bytes().any(|b| b < b' ');
            is_plain.then_some(Cow::Borrowed(text))
        };
        let text = text.ok_or_else(|| {
            self.fault("a string holds a control character, or an escape of no character")
        })?;
        self.rest = rest;
        Ok(text)
    }

    fn number(&mut self) -> Result<(), Why> {
        let of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let len = self.rest.bytes().take_while(of_number).count();
        let (token, rest) = self.rest.split_at_checked(len).unwrap_or_default();
        let kind = Number::of(token).ok_or_else(|| self.fault("a number is not one of JSON"))?;
        match (kind, self.form) {
            (Number::Integer, _) if token == "-0" => self.out.push(b'0'),
            (Number::Integer, JsonForm::Python(_)) => self.out.extend_from_slice(token.as_bytes()),
            // A double holds all integers of fifteen digits.
            (Number::Integer, JsonForm::Jcs) if token.len() < 16 => {
                self.out.extend_from_slice(token.as_bytes());
            }
            (Number::Integer, JsonForm::Jcs) => {
                let start = self.out.len();
                self.double(token)?;
                if self.out.get(start..) != Some(token.as_bytes()) {
                    return Err(self.fault("JCS would write an integer as another number"));
                }
            }
            (Number::Decimal, _) => self.double(token)?,
        }
        self.rest = rest;
        Ok(())
    }

    fn double(&mut self, token: &str) -> Result<(), Why> {
        let number = token.parse().ok().filter(|number: &f64| number.is_finite());
        let number = number.ok_or_else(|| self.fault("a number is too large for a double"))?;
        number::write(self.form, number, &mut self.out);
        Ok(())
    }

    fn skip_space(&mut self) {
        let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let len = self.rest.bytes().take_while(is_space).count();
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn fault(&self, what: &str) -> Why {
        let at = self.len - self.rest.len();
        format!("the body has no canonical form: {what} (byte {at})").into()
    }
}

enum Number {
    Integer,
    Decimal,
}

impl Number {
    /// By the grammar of JSON (RFC 8259, section 6).
    fn of(token: &str) -> Option<Self> {
        let (whole, rest) = digits(token.strip_prefix('-').unwrap_or(token))?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if rest.is_empty() {
            return Some(Self::Integer);
        }
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => digits(fraction)?.1,
            None => rest,
        };
        let rest = match rest.strip_prefix(['e', 'E']) {
            Some(exponent) => digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?.1,
            None => rest,
        };
        rest.is_empty().then_some(Self::Decimal)
    }
}

/// At least one digit, and what follows.
fn digits(text: &str) -> Option<(&str, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(len)
        .filter(|(digits, _)| !digits.is_empty())
}
