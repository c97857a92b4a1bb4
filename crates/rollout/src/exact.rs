//! Floats that survive a restart to the last bit: written as the shortest text that reads back as
//! itself. A checkpoint must continue exactly where it stopped, or a replay would not reproduce the
//! decisions; and JSON has no infinity.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn read<E: serde::de::Error>(text: &str) -> Result<f64, E> {
    let value = text.parse::<f64>().map_err(|_| E::custom("not a number"))?;
    if value.is_nan() { Err(E::custom("not a number")) } else { Ok(value) }
}

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

/// A fixed number of floats.
pub(crate) mod array {
    use serde::de::Error as _;
    use serde::ser::SerializeSeq as _;

    use super::{Deserialize, Deserializer, Serializer, read};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        values: &[f64; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(Some(N))?;
        for value in values {
            seq.serialize_element(&value.to_string())?;
        }
        seq.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f64; N], D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let values = texts.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
        values.try_into().map_err(|_| D::Error::custom("not as many numbers as expected"))
    }
}

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
