//! Readers of single values: from a TOML value and the limits in its row to a typed value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cutover_units::{NanoUsd, WeightBp, did_you_mean};
use toml::de::DeValue;

use crate::fields::Kind;
use crate::quantity::{
    parse_duration, parse_price, parse_size, parse_usd, print_duration, print_size,
};
use crate::reader::{Value, found};

/// Why a value is not what its key wants.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Where inside the value, if not at its beginning.
    pub(crate) at: Option<usize>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, at: None }
    }

    /// The value has another type.
    pub(crate) fn kind(kind: &Kind, value: &Value<'_>) -> Self {
        Self::new(format!("expected {}, found {}", kind.words(), found(value)))
    }
}

type Read<T> = Result<T, Wrong>;

/// The longest single-line text: names of models, units, header values.
const TEXT_BYTES_MAX: usize = 4_096;

pub(crate) fn boolean(value: &Value<'_>, kind: &Kind) -> Read<bool> {
    value.get_ref().as_bool().ok_or_else(|| Wrong::kind(kind, value))
}

pub(crate) fn integer(value: &Value<'_>, kind: &Kind) -> Read<i64> {
    let digits = value.get_ref().as_integer().ok_or_else(|| Wrong::kind(kind, value))?;
    let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
    let Kind::Integer { min, max } = *kind else { return Err(Wrong::kind(kind, value)) };
    number
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| Wrong::new(format!("expected a whole number from {min} to {max}")))
}

/// An integer whose row keeps it inside 32 bits.
pub(crate) fn count(value: &Value<'_>, kind: &Kind) -> Read<u32> {
    let number = integer(value, kind)?;
    u32::try_from(number).map_err(|_| Wrong::kind(kind, value))
}

pub(crate) fn number(value: &Value<'_>, kind: &Kind) -> Read<f64> {
    let text = match value.get_ref() {
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
        DeValue::Float(digits) => digits.as_str(),
        _ => return Err(Wrong::kind(kind, value)),
    };
    let Kind::Number { min, max } = *kind else { return Err(Wrong::kind(kind, value)) };
    // A comparison, not a range method: NaN fails it.
    match text.parse::<f64>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(Wrong::new(format!("expected a number from {min} to {max}"))),
    }
}

/// A text on one line.
pub(crate) fn text(value: &Value<'_>, kind: &Kind) -> Read<String> {
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::kind(kind, value))?;
    if text.trim().is_empty() {
        return Err(Wrong::new("expected a text that is not empty"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Wrong::new(format!("expected a text of at most {TEXT_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("expected a text without line breaks or control characters"));
    }
    Ok(text.to_owned())
}

pub(crate) fn choice(value: &Value<'_>, kind: &Kind) -> Read<&'static str> {
    let (Kind::Choice(words), Some(text)) = (*kind, value.get_ref().as_str()) else {
        return Err(Wrong::kind(kind, value));
    };
    words.iter().copied().find(|word| *word == text).ok_or_else(|| Wrong {
        message: format!("expected {}", kind.words()),
        hint: did_you_mean(text, words.iter().copied()),
        at: None,
    })
}

pub(crate) fn duration(value: &Value<'_>, kind: &Kind) -> Read<Duration> {
    let text = value.get_ref().as_str().ok_or_else(|| bare(kind, value))?;
    let duration = parse_duration(text).map_err(Wrong::new)?;
    let Kind::Duration { min_ms, max_ms } = *kind else { return Err(Wrong::kind(kind, value)) };
    let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
    if duration < min || duration > max {
        let (min, max) = (print_duration(min), print_duration(max));
        return Err(Wrong::new(format!("expected a duration from {min:?} to {max:?}")));
    }
    Ok(duration)
}

pub(crate) fn size(value: &Value<'_>, kind: &Kind) -> Read<u64> {
    let text = value.get_ref().as_str().ok_or_else(|| bare(kind, value))?;
    let size = parse_size(text).map_err(Wrong::new)?;
    let Kind::Size { min, max } = *kind else { return Err(Wrong::kind(kind, value)) };
    if size < min || size > max {
        let (min, max) = (print_size(min), print_size(max));
        return Err(Wrong::new(format!("expected a size from {min:?} to {max:?}")));
    }
    Ok(size)
}

pub(crate) fn percent(value: &Value<'_>, kind: &Kind) -> Read<WeightBp> {
    let text = value.get_ref().as_str().ok_or_else(|| bare(kind, value))?;
    WeightBp::parse(text).map_err(|why| Wrong::new(why.to_string()))
}

/// A number where a text with a unit belongs: the commonest slip, so it gets a better answer.
fn bare(kind: &Kind, value: &Value<'_>) -> Wrong {
    let mut wrong = Wrong::kind(kind, value);
    if matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_)) {
        wrong.hint = Some("write the unit, in quotes".to_owned());
    }
    wrong
}

/// A price from a text or a number; a number is read by its digits, so it stays exact.
pub(crate) fn price(value: &Value<'_>, kind: &Kind) -> Read<u64> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
        DeValue::Float(digits) => digits.as_str(),
        _ => return Err(Wrong::kind(kind, value)),
    };
    parse_price(text).map_err(Wrong::new)
}

/// An IP address and a port; `localhost` stands for 127.0.0.1.
pub(crate) fn listen(value: &Value<'_>, kind: &Kind) -> Read<SocketAddr> {
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::kind(kind, value))?;
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        let mut wrong = Wrong::new(format!("expected {}", kind.words()));
        wrong.hint = numeric
            .strip_prefix(':')
            .map(|port| format!("for all addresses write \"0.0.0.0:{port}\""));
        wrong
    })
}

/// Reads an amount of money; none is no limit.
pub(crate) fn budget(value: &Value<'_>, kind: &Kind) -> Read<Option<NanoUsd>> {
    let text = match value.get_ref() {
        DeValue::String(text) if text == "unlimited" => return Ok(None),
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
        DeValue::Float(digits) => digits.as_str(),
        _ => return Err(Wrong::kind(kind, value)),
    };
    parse_usd(text).map(|nano| Some(NanoUsd(nano))).map_err(Wrong::new)
}

/// Reads a URL that is only called, never taken apart. The message does not repeat it: the path of a
/// webhook is often its secret.
pub(crate) fn web_url(value: &Value<'_>, kind: &Kind) -> Read<String> {
    let url = text(value, kind)?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_plain = rest.bytes().all(|b| b.is_ascii_graphic());
    if !is_web || !is_plain || authority.is_empty() {
        return Err(Wrong::new(format!("expected {}", kind.words())));
    }
    if authority.contains('@') {
        return Err(Wrong::new("a URL carries no user or password here; use `secret`"));
    }
    Ok(url)
}

pub(crate) fn path(value: &Value<'_>, kind: &Kind) -> Read<PathBuf> {
    text(value, kind).map(PathBuf::from)
}

/// The header's name in lower case.
pub(crate) fn header_name(name: &str) -> Read<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(Wrong::new("not a header name"));
    }
    Ok(name.to_ascii_lowercase())
}

/// A header's value: printable ASCII.
pub(crate) fn header_text(value: &Value<'_>) -> Read<String> {
    let text = text(value, &Kind::Text)?;
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) || text.trim() != text {
        return Err(Wrong::new("expected a header value: printable ASCII, no space at its ends"));
    }
    Ok(text)
}
