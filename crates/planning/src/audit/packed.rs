//! Files that are packed with gzip or zstd, told by how they begin; their name says nothing. Other archives are
//! refused by who reads what is in them.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is in a file, and whether it was packed. Several packed parts after each other are one text, as their
/// programs have it.
pub(super) fn unpacked<'r>(file: impl Read + 'r) -> io::Result<(Box<dyn Read + 'r>, bool)> {
    // A pipe may hand over a byte at a time.
    let (mut file, mut begins) = (file, Vec::new());
    file.by_ref().take(ZSTD.len() as u64).read_to_end(&mut begins)?;
    let all = io::Cursor::new(begins.clone()).chain(file);
    let file = BufReader::with_capacity(super::CHUNK, all);
    if begins.starts_with(GZIP) {
        return Ok((Box::new(MultiGzDecoder::new(file)), true));
    }
    if begins.starts_with(ZSTD) {
        return Ok((Box::new(Frames { frame: None, rest: Some(file) }), true));
    }
    Ok((Box::new(file), false))
}

type Frame<R> = StreamingDecoder<R, ruzstd::decoding::FrameDecoder>;

/// Frames of zstd, one after the other.
struct Frames<R: BufRead> {
    frame: Option<Frame<R>>,
    rest: Option<R>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut rest) = self.rest.take() {
                if rest.fill_buf()?.is_empty() {
                    self.rest = Some(rest);
                    return Ok(0);
                }
                let frame = StreamingDecoder::new(rest);
                self.frame = Some(frame.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("no zstd: {error}"))
                })?);
            }
            let Some(frame) = &mut self.frame else { return Ok(0) };
            let n = frame.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            self.rest = self.frame.take().map(StreamingDecoder::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    fn text(bytes: &[u8]) -> io::Result<(String, bool)> {
        let (mut file, packed) = unpacked(bytes)?;
        let mut out = String::new();
        file.read_to_string(&mut out)?;
        Ok((out, packed))
    }

    #[test]
    fn packed_parts_are_read_one_after_the_other_and_plain_files_as_they_are() {
        let long = "0123456789abcdef\n".repeat(100_000);
        for pack in [gzip, zstd] {
            let parts = [pack(&long), pack(""), pack("end")].concat();
            assert_eq!(text(&parts).unwrap(), (format!("{long}end"), true));
        }
        assert_eq!(text(b"{}").unwrap(), ("{}".to_owned(), false));
        assert_eq!(text(b"").unwrap(), (String::new(), false));
    }

    #[test]
    fn a_file_that_breaks_off_or_is_damaged_is_an_error_never_the_end() {
        let words = (0..30_000_u64).map(|n| (n * n * 2_654_435_761).to_string());
        let long = words.collect::<Vec<_>>().concat();
        for pack in [gzip, zstd] {
            let whole = pack(&long);
            for cut in [5, whole.len() / 2, whole.len() - 1] {
                assert!(text(&whole[..cut]).is_err(), "cut at {cut}");
            }
            assert!(text(&[&whole[..], b"rubbish"].concat()).is_err());
        }
    }
}
