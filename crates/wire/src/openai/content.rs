//! Message content: a text, or a list of parts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// A message's content.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Text, images, audio and files in order.
    Parts(Vec<Part>),
}

/// One part of a message.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image, by address or as a data URL.
    ImageUrl {
        /// The image.
        image_url: ImageUrl,
    },
    /// Sound.
    InputAudio {
        /// The sound.
        input_audio: serde::de::IgnoredAny,
    },
    /// A file.
    File {
        /// The file.
        file: serde::de::IgnoredAny,
    },
    /// An assistant's refusal in the history.
    Refusal {
        /// The refusal's text.
        refusal: String,
    },
}

/// An image's address.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct ImageUrl {
    /// `https:` or `data:`.
    pub url: String,
    /// `auto`, `low` or `high`.
    #[serde(default)]
    pub detail: Option<String>,
}

impl Content {
    /// The text of all text and refusal parts, joined by newlines.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Parts(parts) => {
                let texts: Vec<&str> = parts.iter().filter_map(Part::text).collect();
                match texts.as_slice() {
                    [one] => Cow::Borrowed(one),
                    many => Cow::Owned(many.join("\n")),
                }
            }
        }
    }

    /// The position and kind of the first part that is not text, such as an image.
    pub fn first_not_text(&self) -> Option<(usize, &'static str)> {
        let Self::Parts(parts) = self else { return None };
        let found = parts.iter().enumerate().find(|(_, part)| part.text().is_none())?;
        Some((found.0, found.1.kind()))
    }
}

impl Part {
    /// The part's text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } | Self::Refusal { refusal: text } => Some(text),
            _ => None,
        }
    }

    /// The part's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::ImageUrl { .. } => "image_url",
            Self::InputAudio { .. } => "input_audio",
            Self::File { .. } => "file",
            Self::Refusal { .. } => "refusal",
        }
    }
}

impl fmt::Debug for Content {
    /// Tells size and kind only: this is prompt text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Parts(parts) => f.debug_list().entries(parts.iter().map(Part::kind)).finish(),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrParts;
        impl<'de> Visitor<'de> for TextOrParts {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of content parts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(TextOrParts)
    }
}
