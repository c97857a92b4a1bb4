//! What is run here over generated responses, and by the fuzz target of the same name.

use bytes::BytesMut;
use cutover_http1::{Decoded, Head, HeadReader};
use http::Method;

/// Largest head.
pub(crate) const LIMIT: usize = 4096;

/// A response as a client saw it: status, headers, body, whether the connection is kept and the body was whole; or
/// the refusal's words.
pub(crate) type Seen = Result<(u16, Vec<(String, Vec<u8>)>, Vec<u8>, bool, bool), String>;

/// What is seen of these bytes, cut into reads at these places, and how often a head was parsed.
pub(crate) fn seen(method: &Method, bytes: &[u8], cuts: &[usize]) -> Option<Seen> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut buffer, mut from) = (BytesMut::new(), 0);
    let mut reader = HeadReader::new(method, LIMIT);
    let mut head: Option<Head> = None;
    let mut body = Vec::new();
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        if head.is_none() {
            match reader.read(&mut buffer) {
                Ok(read) => head = read,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        let Some(head) = &mut head else { continue };
        loop {
            match head.decoder.decode(&mut buffer) {
                Ok(Decoded::Piece(piece)) => body.extend_from_slice(&piece),
                Ok(Decoded::More | Decoded::End) => break,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
    let head = head?;
    let headers = head.response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let whole = head.decoder.has_ended() || head.decoder.ends_with_the_connection();
    let status = head.response.status().as_u16();
    Some(Ok((status, headers.collect(), body, head.keeps_open, whole)))
}

/// Whatever comes: no panic, the same in pieces as at once, no body longer than what came, and what is not whole was
/// not whole a byte before.
fn cut(bytes: &[u8], cuts: &[usize]) {
    for method in [Method::GET, Method::HEAD] {
        let (at_once, in_pieces) = (seen(&method, bytes, &[]), seen(&method, bytes, cuts));
        match (&at_once, &in_pieces) {
            // A head that is wrong may be told wrong by another of its faults, the earlier one, and one without an
            // end when it is looked at again.
            (Some(Err(_)), Some(Err(_)) | None) => {}
            _ => assert_eq!(at_once, in_pieces, "{cuts:?}"),
        }
        let Some(Ok((.., body, _, whole))) = at_once else { continue };
        assert!(body.len() <= bytes.len());
        let shorter = bytes.split_last().and_then(|(_, shorter)| seen(&method, shorter, &[]));
        if let (false, Some(Ok((.., whole_before)))) = (whole, shorter) {
            assert!(!whole_before);
        }
    }
}

/// [`cut`] of any bytes: the first four say where.
pub(crate) fn http1(data: &[u8]) {
    let Some((cuts, bytes)) = data.split_first_chunk::<4>() else { return };
    cut(bytes, &cuts.map(usize::from));
}
