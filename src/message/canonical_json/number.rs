//! How Python and ECMAScript write a double: the same digits, set differently.

use std::iter::repeat_n;

use super::form::JsonForm;

/// Writes a finite number, with the fewest digits that tell it from all others.
pub(super) fn write(form: JsonForm, number: f64, out: &mut Vec<u8>) {
    // ECMAScript, Number::toString; Python, `float.__repr__`.
    let (plain, has_sign, whole, exponent_digits) = match form {
        JsonForm::Jcs => (-6..21, number < 0.0, "", 1),
        JsonForm::Python(_) => (-4..16, number.is_sign_negative(), ".0", 2),
    };
    if has_sign {
        out.push(b'-');
    }
    let start = out.len();
    let exponent = write_digits(number.abs(), out);
    let digits = out.len() - start;
    let before_point = usize::try_from(exponent + 1).unwrap_or_default();
    if !plain.contains(&exponent) {
        if digits > 1 {
            out.insert(start + 1, b'.');
        }
        let (sign, exponent) = (if exponent < 0 { '-' } else { '+' }, exponent.abs());
        out.extend_from_slice(format!("e{sign}{exponent:0exponent_digits$}").as_bytes());
    } else if before_point == 0 {
        let zeros = usize::try_from(-1 - exponent).unwrap_or_default();
        let prefix = b"0.".iter().copied().chain(repeat_n(b'0', zeros));
        out.splice(start..start, prefix);
    } else if before_point < digits {
        out.insert(start + before_point, b'.');
    } else {
        out.extend(repeat_n(b'0', before_point - digits));
        out.extend_from_slice(whole.as_bytes());
    }
}

/// Writes the digits, and tells the exponent of the first.
///
/// Python and ECMAScript take the even one of two texts that are equally short and near, and so
/// does `ryu`; the standard library takes the greater.
fn write_digits(number: f64, out: &mut Vec<u8>) -> i32 {
    if number == 0.0 {
        out.push(b'0');
        return 0;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(number);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    let leading = digits.clone().take_while(|b| *b == b'0').count();
    out.extend(digits.skip(leading));
    while out.last() == Some(&b'0') {
        out.pop();
    }
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let shift = |count: usize| i32::try_from(count).unwrap_or_default();
    exponent + shift(whole.len()) - shift(leading) - 1
}
