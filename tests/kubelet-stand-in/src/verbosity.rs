//! `PUT /debug/flags/v`: the decimal number alone is taken; what else comes is refused in the words of each version.

use crate::access::Rules;

/// Returns the new level, or the body of the 400. The newline at the end of each body is the kubelet's.
pub fn parse(rules: Rules, body: &[u8]) -> Result<i32, String> {
    let text = String::from_utf8_lossy(body);
    let digits = text.strip_prefix(['-', '+']).filter(|_| rules == Rules::Coarse).unwrap_or(&text);
    let reason = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else if let Ok(level) = text.parse::<i32>() {
        return Ok(level);
    } else {
        "value out of range"
    };
    Err(match rules {
        Rules::Fine => format!("strconv.ParseUint: parsing {}: {reason}\n", quoted(&text)),
        Rules::Coarse => {
            format!("failed set klog.logging.verbosity {text}: strconv.ParseInt: parsing {}: {reason}\n", quoted(&text))
        }
    })
}

/// Returns the body of the 200.
pub fn changed(level: i32) -> String {
    format!("successfully set klog.logging.verbosity to {level}\n")
}

/// Quotes as Go's `strconv.Quote` does, as far as requests need it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
