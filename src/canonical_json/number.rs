//! How Python and ECMAScript write a double: the same digits, set differently.

use super::JsonForm;

/// Writes a finite number, with the fewest digits that tell it from all others.
pub(super) fn write(form: JsonForm, number: f64, out: &mut Vec<u8>) {
    // ECMAScript, Number::toString; Python, `float.__repr__`.
    let (plain, sign, whole, least_exponent) = match form {
        JsonForm::Jcs => (-6..21, number < 0.0, "", 1),
        JsonForm::Python(_) => (-4..16, number.is_sign_negative(), ".0", 2),
    };
    if sign {
        out.push(b'-');
    }
    let (digits, exponent) = shortest(number.abs());
    if !plain.contains(&exponent) {
        let (first, more) = digits.split_at_checked(1).unwrap_or_default();
        let point = if more.is_empty() { "" } else { "." };
        let (sign, exponent) = (if exponent < 0 { '-' } else { '+' }, exponent.abs());
        let text = format!("{first}{point}{more}e{sign}{exponent:0least_exponent$}");
        out.extend_from_slice(text.as_bytes());
        return;
    }

    let zeros = |count: usize| std::iter::repeat_n(b'0', count);
    let before_point = usize::try_from(exponent + 1).unwrap_or_default();
    match digits.split_at_checked(before_point) {
        Some(("", _)) => {
            out.extend_from_slice(b"0.");
            let behind_point = usize::try_from(-1 - exponent).unwrap_or_default();
            out.extend(zeros(behind_point));
            out.extend_from_slice(digits.as_bytes());
        }
        Some((before, behind)) if !behind.is_empty() => {
            out.extend_from_slice(before.as_bytes());
            out.push(b'.');
            out.extend_from_slice(behind.as_bytes());
        }
        _ => {
            out.extend_from_slice(digits.as_bytes());
            out.extend(zeros(before_point - digits.len()));
            out.extend_from_slice(whole.as_bytes());
        }
    }
}

/// The digits, and the exponent of the first of them.
///
/// Of two that are equally short and near, Python and ECMAScript take the even one, and so does
/// `ryu`; the standard library takes the greater.
fn shortest(number: f64) -> (String, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(number);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let leading = all.len() - digits.len();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return ("0".into(), 0);
    }
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let first = i32::try_from(whole.len()).unwrap_or_default()
        - i32::try_from(leading).unwrap_or_default()
        - 1;
    (digits.into(), exponent + first)
}
