//! Names and values within a request that only some upstreams, or few requests, need a look at.

/// Which of them stand somewhere in a body; what a body was not asked for may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(u32);

impl Words {
    /// A participant's name, a tool's.
    pub const NAME: Self = Self(1);
    /// An image's detail.
    pub const DETAIL: Self = Self(1 << 1);
    /// The role, most likely.
    pub const DEVELOPER: Self = Self(1 << 2);
    /// A part that is an image.
    pub const IMAGE: Self = Self(1 << 3);
    /// A part that is audio.
    pub const AUDIO: Self = Self(1 << 4);
    /// What other vendors' answers bring along: reasoning under its several names, extra content.
    pub const OTHERS: Self = Self(1 << 5);
    /// Nobody has looked.
    pub(super) const ANY: Self = Self(u32::MAX);

    /// Those that a walk has met.
    pub(super) fn met(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether one of these may stand in the body.
    pub fn may_have(self, words: Self) -> bool {
        self.0 & words.0 != 0
    }

    /// The kind of a string.
    pub(super) fn of(string: &[u8]) -> u32 {
        match string {
            b"name" => Self::NAME.0,
            b"detail" => Self::DETAIL.0,
            b"developer" => Self::DEVELOPER.0,
            b"image_url" => Self::IMAGE.0,
            b"input_audio" => Self::AUDIO.0,
            b"extra_content" | b"reasoning" | b"reasoning_content" | b"reasoning_details" => {
                Self::OTHERS.0
            }
            _ => 0,
        }
    }
}
