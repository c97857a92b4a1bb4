//! Other files that people write in TOML, such as scenarios of `cutover tco`: only this crate reads the format.

use serde_json::Value;

use crate::check::TEXT_BYTES_MAX;

/// The text as a JSON value. The problem names line and column.
pub fn toml_as_json(text: &str) -> Result<Value, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {TEXT_BYTES_MAX}", text.len()));
    }
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_objects_and_mistakes_name_their_line() {
        let value = toml_as_json("[own]\ncapex = 3600\npower = \"0.45 kW\"").unwrap();
        assert_eq!(value, serde_json::json!({ "own": { "capex": 3600, "power": "0.45 kW" } }));
        assert!(toml_as_json("[own]\ncapex = ").unwrap_err().contains("line 2"));
        assert!(toml_as_json(&" ".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }
}
