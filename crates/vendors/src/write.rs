//! Writing JSON piece by piece: raw texts of the client stand beside values of ours, and nothing is
//! parsed to be written again.

use std::fmt::Write as _;

use memchr::memchr2;

/// A JSON text under construction. Commas are set by what stands before.
#[derive(Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// An empty text.
    pub fn new() -> Self {
        Self { text: String::with_capacity(512) }
    }

    /// An empty text with room for so many bytes: a long one is then not moved while it grows.
    pub fn with_room(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// What was written.
    pub fn into_string(self) -> String {
        self.text
    }

    fn comma(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }

    /// An object with what `fill` writes.
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.comma();
        self.text.push('{');
        fill(self);
        self.text.push('}');
    }

    /// An array with what `fill` writes.
    pub fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.comma();
        self.text.push('[');
        fill(self);
        self.text.push(']');
    }

    /// A member's key; its value must follow.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.comma();
        self.quoted(key);
        self.text.push(':');
        self
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.comma();
        self.quoted(text);
    }

    /// A value that is JSON already. Line ends in it become spaces (they stand between tokens only),
    /// because events and lines end there.
    pub fn raw(&mut self, raw: &str) {
        self.comma();
        if memchr2(b'\n', b'\r', raw.as_bytes()).is_some() {
            self.text.extend(raw.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        } else {
            self.text.push_str(raw);
        }
    }

    /// Members that are JSON already, such as `"a":1,"b":2`; nothing if empty.
    pub fn members(&mut self, raw: &str) {
        if !raw.is_empty() {
            self.raw(raw);
        }
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.comma();
        // Writing to a string cannot fail.
        let _infallible = write!(self.text, "{number}");
    }

    /// A boolean.
    pub fn flag(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    /// Null.
    pub fn null(&mut self) {
        self.raw("null");
    }

    /// A member with a text.
    pub fn put(&mut self, key: &str, text: &str) {
        self.key(key).text(text);
    }

    /// A member with a raw value, null if there is none.
    pub fn put_raw(&mut self, key: &str, raw: Option<&str>) {
        self.key(key).raw(raw.unwrap_or("null"));
    }

    /// A member with a raw value, if there is one.
    pub fn put_some(&mut self, key: &str, raw: Option<&str>) {
        if raw.is_some() {
            self.put_raw(key, raw);
        }
    }

    /// A member with a number.
    pub fn put_number(&mut self, key: &str, number: u64) {
        self.key(key).number(number);
    }

    /// A member with a boolean.
    pub fn put_flag(&mut self, key: &str, flag: bool) {
        self.key(key).flag(flag);
    }

    /// A member with an object of what `fill` writes.
    pub fn put_object(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key).object(fill);
    }

    /// A member with an array of what `fill` writes.
    pub fn put_array(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key).array(fill);
    }

    fn quoted(&mut self, text: &str) {
        // Most texts need no escapes, and an image's may be long: checked at once, and copied once.
        if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
            self.text.push('"');
            self.text.push_str(text);
            self.text.push('"');
            return;
        }
        // A string cannot fail to serialise.
        self.text.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    }
}

/// One JSON object as text.
pub fn object(fill: impl FnOnce(&mut Json)) -> String {
    let mut json = Json::new();
    json.object(fill);
    json.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_line_ends_do_not_end_our_events() {
        let text = object(|j| j.put_raw("a", Some("{\r\n\"b\":\n\"\\n\"}")));
        assert_eq!(text, "{\"a\":{  \"b\": \"\\n\"}}");
    }

    #[test]
    fn commas_stand_where_they_must() {
        let text = object(|j| {
            j.put("a", "x\"y");
            j.put_array("b", |j| {
                j.number(1);
                j.object(|_| {});
                j.array(|_| {});
                j.text(":");
                j.null();
            });
            j.put_flag("c", true);
            j.members("\"d\":4");
            j.members("");
            j.put_object("e", |j| j.put_raw("f", None));
        });
        assert_eq!(text, r#"{"a":"x\"y","b":[1,{},[],":",null],"c":true,"d":4,"e":{"f":null}}"#);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}
