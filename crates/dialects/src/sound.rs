//! How long the sound in a request is, by its own header, for estimates of tokens: vendors count sound by the second, and
//! its bytes say little of that.
//!
//! WAV, MP3 and FLAC tell it near their beginning, so that of a long one little is decoded. What tells nothing is not
//! estimated.

use cutover_wire::Fault;

use crate::base64::Data;
use crate::pivot::{Chat, Message, Part};
use crate::read::{At, Text};

/// What a second of sound takes at Google, by its published rule ("Understand and count tokens", read on 22 November
/// 2026).
pub(crate) const GOOGLES_SECOND: u64 = 32;

const UNKNOWN: &str = "is sound whose length cannot be read, so its tokens cannot be estimated: WAV, MP3 and FLAC tell it";
const FILM: &str = "is film, whose tokens cannot be estimated";

/// Takes the sound out of a conversation, and tells how many tokens it is at so many a second. What cannot be estimated
/// is refused by its place.
pub(crate) fn taken_out(chat: &mut Chat<'_>, a_second: u64) -> Result<u64, Fault> {
    let mut tokens = 0;
    for (at, message) in chat.messages.iter_mut().enumerate() {
        let (Message::Said { parts, .. } | Message::Tool { parts, .. }) = message else { continue };
        for (number, part) in parts.iter_mut().enumerate() {
            let refused = |name: &str, end: &str, why: &str| {
                let messages = At::Root.key("messages");
                let message = messages.item(at);
                let content = message.key("content");
                content.item(number).key(name).key(end).unsupported(why)
            };
            let millis = match part {
                Part::Audio { format, data } => millis(format, &data.decode())
                    .ok_or_else(|| refused("input_audio", "data", UNKNOWN))?,
                Part::File { data, .. } => {
                    let url = data.decode();
                    let Some((kind, data)) = url.split_once(";base64,") else { continue };
                    let refused = |why| refused("file", "file_data", why);
                    match kind.strip_prefix("data:").and_then(|kind| kind.split_once('/')) {
                        Some(("audio", kind)) => millis(kind.trim_start_matches("x-"), data)
                            .ok_or_else(|| refused(UNKNOWN))?,
                        Some(("video", _)) => return Err(refused(FILM)),
                        _ => continue,
                    }
                }
                _ => continue,
            };
            tokens += (millis * a_second).div_ceil(1_000);
            *part = Part::Text(Text::from(""));
        }
    }
    Ok(tokens)
}

/// How long sound is, if its header tells it. An hour is far from the largest number here.
fn millis(format: &str, base64: &str) -> Option<u64> {
    let data = Data::of(base64);
    match format {
        "wav" | "wave" => wav(data),
        "mp3" | "mpeg" => mp3(data),
        "flac" => flac(data),
        _ => None,
    }
}

impl Data<'_> {
    /// A number of at most eight bytes.
    fn big(self, at: usize, count: usize) -> Option<u64> {
        let bytes = self.bytes(at, count);
        (bytes.len() == count)
            .then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn little(self, at: usize, count: usize) -> Option<u64> {
        let bytes = self.bytes(at, count);
        let sum = || bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        (bytes.len() == count).then(sum)
    }

    fn says(self, at: usize, word: &[u8]) -> bool {
        self.bytes(at, word.len()) == word
    }
}

/// The most chunks that are looked at before the sound itself.
const CHUNKS_MAX: usize = 32;

fn wav(data: Data<'_>) -> Option<u64> {
    if !data.says(0, b"RIFF") || !data.says(8, b"WAVE") {
        return None;
    }
    let (mut at, mut a_second) = (12, 0);
    for _ in 0..CHUNKS_MAX {
        let size = usize::try_from(data.little(at + 4, 4)?).ok()?;
        if data.says(at, b"fmt ") {
            a_second = data.little(at + 16, 4)?;
        }
        if data.says(at, b"data") {
            // One that was written as a stream does not know its size.
            let size = size.min(data.len().saturating_sub(at + 8));
            return (size as u64 * 1_000).checked_div(a_second);
        }
        at = at.checked_add(8)?.checked_add(size)?.checked_add(size % 2)?;
    }
    None
}

/// Thousands of bits a second of layer III, by version 1 and the others.
const RATES: [[u64; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// How far behind a tag the first frame is looked for.
const FRAME_WITHIN: usize = 4_096;

fn mp3(data: Data<'_>) -> Option<u64> {
    let mut start = 0;
    if data.says(0, b"ID3") {
        // Seven bits of each byte count.
        let size =
            data.bytes(6, 4).iter().fold(0_usize, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        start = 10 + size;
    }
    let near = data.bytes(start, FRAME_WITHIN);
    let is_frame = |pair: &[u8]| matches!(pair, [0xff, second, ..] if second & 0xe6 == 0xe2);
    let start = start + near.windows(2).position(is_frame)?;
    let [_, second, third, fourth] = <[u8; 4]>::try_from(data.bytes(start, 4)).ok()?;
    let (is_first, divisor) = match second >> 3 & 3 {
        3 => (true, 1),
        2 => (false, 2),
        0 => (false, 4),
        _ => return None,
    };
    let samples = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))? / divisor;
    let in_frame = if is_first { 1_152 } else { 576 };
    let side = match (is_first, fourth >> 6 == 3) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    // One whose rate varies tells its frames.
    let told = start + 4 + side;
    let frames = if data.says(told, b"Xing") || data.says(told, b"Info") {
        data.big(told + 4, 4).filter(|flags| flags & 1 == 1).and_then(|_| data.big(told + 8, 4))
    } else if data.says(start + 36, b"VBRI") {
        data.big(start + 50, 4)
    } else {
        None
    };
    if let Some(frames) = frames {
        return Some(frames * in_frame * 1_000 / samples);
    }
    let rate = RATES.get(usize::from(!is_first))?.get(usize::from(third >> 4))?;
    (data.len().saturating_sub(start) as u64 * 8).checked_div(*rate)
}

fn flac(data: Data<'_>) -> Option<u64> {
    // The first block of a stream tells of it.
    let about = data.big(18, 8).filter(|_| data.says(0, b"fLaC") && data.bytes(4, 1) == [0])?;
    let (rate, samples) = (about >> 44, about & 0xf_ffff_ffff);
    (samples * 1_000).checked_div(rate).filter(|_| samples > 0)
}

#[cfg(test)]
mod tests {
    use cutover_wire::openai::embeddings::base64;
    use proptest::prelude::*;

    use super::*;

    fn told(format: &str, bytes: &[u8]) -> Option<u64> {
        millis(format, &base64(bytes))
    }

    fn wav_of(seconds: usize, before: &[u8], size: Option<u32>) -> Vec<u8> {
        let data = vec![0_u8; 32_000 * seconds];
        let size = size.unwrap_or(u32::try_from(data.len()).unwrap());
        let format: [&[u8]; 6] = [
            &[1, 0, 1, 0],
            &16_000_u32.to_le_bytes(),
            &32_000_u32.to_le_bytes(),
            &[2, 0, 16, 0],
            before,
            b"data",
        ];
        [b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", &format.concat()[..], &size.to_le_bytes(), &data]
            .concat()
    }

    #[test]
    fn the_length_of_sound_is_read_from_its_header() {
        assert_eq!(told("wav", &wav_of(3, b"", None)), Some(3_000));
        // A chunk of an odd length before, and one that was streamed.
        assert_eq!(told("wav", &wav_of(2, b"LIST\x03\0\0\0abc\0", Some(u32::MAX))), Some(2_000));
        // MPEG-1, layer III, 128 kbit/s, 44.1 kHz, stereo: 16,000 bytes a second.
        let frame = |rest: usize| [&[0xff, 0xfb, 0x90, 0x00][..], &vec![0; rest]].concat();
        assert_eq!(told("mp3", &frame(15_996)), Some(1_000));
        let tagged = [b"ID3\x04\0\0\0\0\x02\x01", &[0xaa; 257][..], &frame(31_996)].concat();
        assert_eq!(told("mpeg", &tagged), Some(2_000));
        let mut varies = frame(500);
        varies[36..48].copy_from_slice(b"Xing\0\0\0\x01\0\0\x03\xe8");
        assert_eq!(told("mp3", &varies), Some(26_122));
        let rate_and_samples = (44_100_u64 << 44 | 0x6_baa8).to_be_bytes();
        let flac = [b"fLaC\0\0\0\x22", &[0; 10][..], &rate_and_samples, &[0; 16]].concat();
        assert_eq!(told("flac", &flac), Some(10_000));
        for (format, bytes) in
            [("ogg", b"OggS".as_slice()), ("wav", b"RIFF"), ("mp3", b"x"), ("flac", b"fLaC")]
        {
            assert_eq!(told(format, bytes), None, "{format}");
        }
    }

    proptest! {
        #[test]
        fn no_sound_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0_usize..3) {
            let (format, head) = [("wav", &b"RIFF0000WAVE"[..]), ("mp3", b"ID3"), ("flac", b"fLaC\0\0\0\0")][kind];
            told(format, &[head, &bytes].concat());
            told(format, &bytes);
        }
    }
}
