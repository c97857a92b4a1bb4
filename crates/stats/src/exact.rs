//! Floats that survive a restart to the last bit.
//!
//! A stored process must continue exactly where it stopped, or a replay would not reproduce the
//! decisions. JSON readers may round a number to a neighbour and have no infinity, so each float is
//! written as the shortest text that reads back as itself.

use serde::{Deserialize, Deserializer, Serializer};

/// Reads a float that was written here.
pub fn read<E: serde::de::Error>(text: &str) -> Result<f64, E> {
    let value = text.parse::<f64>().map_err(|_| E::custom("not a number"))?;
    if value.is_nan() { Err(E::custom("not a number")) } else { Ok(value) }
}

/// One float: `#[serde(with = "exact::one")]`.
pub(crate) mod one {
    use super::{Deserialize as _, Deserializer, Serializer, read};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        read(&String::deserialize(from)?)
    }
}

/// A fixed number of floats: `#[serde(with = "exact::array")]`.
pub mod array {
    use serde::de::Error as _;
    use serde::ser::SerializeSeq as _;

    use super::{Deserialize as _, Deserializer, Serializer, read};

    /// Writes them.
    pub fn serialize<S: Serializer, const N: usize>(
        values: &[f64; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(Some(N))?;
        for value in values {
            seq.serialize_element(&value.to_string())?;
        }
        seq.end()
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f64; N], D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let values = texts.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
        values.try_into().map_err(|_| D::Error::custom("not as many numbers as expected"))
    }
}

/// Any number of floats: `#[serde(with = "exact::list")]`.
pub(crate) mod list {
    use super::{Deserialize as _, Deserializer, Serializer, read};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(f64::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|text| read(text)).collect()
    }
}
