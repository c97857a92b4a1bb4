//! Floats that survive a restart to the last bit: written as the shortest text that reads back as
//! itself. A checkpoint must continue exactly where it stopped, or a replay would not reproduce the
//! decisions; and JSON has no infinity.

use cutover_stats::exact::read;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One optional float.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, read};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| read(&text)).transpose()
    }
}

/// Two optional floats.
pub(crate) mod pair {
    use super::{Deserialize, Deserializer, Serialize, Serializer, read};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<(f64, f64)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|(a, b)| (a.to_string(), b.to_string())).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(f64, f64)>, D::Error> {
        let texts = Option::<(String, String)>::deserialize(from)?;
        texts.map(|(a, b)| Ok((read(&a)?, read(&b)?))).transpose()
    }
}

/// A fixed number of floats: as the tests of `stats` keep theirs.
pub(crate) use cutover_stats::exact::array;

/// An interval in a report: plain numbers, null where an end has no bound.
pub(crate) mod bounds {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<(f64, f64)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let finite = |end: f64| end.is_finite().then_some(end);
        value.map(|(low, high)| (finite(low), finite(high))).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(f64, f64)>, D::Error> {
        let ends = Option::<(Option<f64>, Option<f64>)>::deserialize(from)?;
        Ok(ends
            .map(|(low, high)| (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))))
    }
}
