//! Responses as they come: whole, cut anywhere, and wrong.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod targets;

use cutover_http1::response::HEADERS_MAX;
use http::Method;
use proptest::prelude::*;
use targets::{LIMIT, Seen, seen};

fn of(text: &str) -> Seen {
    seen(&Method::POST, text.as_bytes(), &[]).expect("a head")
}

fn body_of(text: &str) -> (String, bool, bool) {
    let (_, _, body, keeps_open, whole) = of(text).unwrap();
    (String::from_utf8(body).unwrap(), keeps_open, whole)
}

#[test]
fn a_body_ends_where_its_head_says() {
    let at_once = |text: &str| (text.to_owned(), true, true);
    for (response, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok rest", at_once("ok")),
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", at_once("ok")),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", at_once("ok")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", at_once("ok")),
        ("HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\nok", at_once("")),
        ("HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", at_once("")),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nrest",
            at_once("ok"),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n02 ;a=\"b\"\r\nok\r\n00\r\nx: y\r\nz:\r\n\r\n",
            at_once("ok"),
        ),
        ("HTTP/1.1 200 OK\r\n\r\nall of it", ("all of it".into(), false, true)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", ("ok".into(), false, true)),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok", at_once("ok")),
        (
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
            ("ok".into(), false, true),
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", ("ok".into(), true, false)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            ("ok".into(), true, false),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            at_once(""),
        ),
    ] {
        assert_eq!(body_of(response), body, "{response:?}");
    }
    let to_head = seen(&Method::HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", &[]);
    let (_, _, body, keeps_open, whole) = to_head.unwrap().unwrap();
    assert!(body.is_empty() && keeps_open && whole);
}

#[test]
fn extensions_may_be_as_many_as_chunks() {
    let chunk = format!("1;signature={}\r\nx\r\n", "a".repeat(100));
    let response = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(1_000)
    );
    assert_eq!(body_of(&response), ("x".repeat(1_000), true, true));
}

#[test]
fn a_chunks_length_may_have_leading_zeros_within_reason() {
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0000000000000002\r\nok\r\n0\r\n\r\n";
    assert_eq!(body_of(response), ("ok".to_owned(), true, true));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (response, why) in [
        (format!("{ok}content-length: +2\r\n\r\nok"), "a content-length that is no number"),
        (format!("{ok}content-length: 2, 2\r\n\r\nok"), "a content-length that is no number"),
        (format!("{ok}content-length:\r\n\r\nok"), "a content-length that is no number"),
        (format!("{ok}content-length: 18446744073709551616\r\n\r\n"), "that is no number"),
        (format!("{ok}content-length: 2\r\ncontent-length: 3\r\n\r\nok"), "that differ"),
        (format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n"), "nobody asked for"),
        (
            format!("{ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"),
            "nobody asked for",
        ),
        (format!("{ok}transfer-encoding: identity\r\n\r\n"), "nobody asked for"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(), "HTTP/1.0"),
        (format!("{ok}a : b\r\n\r\n"), "a header's name"),
        (format!("{ok}a: b\r\n c\r\n\r\n"), "a header's name"),
        (format!("{ok}a: \x01\r\n\r\n"), "a header's value"),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), "its version"),
        ("HTTP/1.1 099 No\r\n\r\n".into(), "its status"),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), "its version"),
        (format!("{ok}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)), "too large"),
        (format!("{ok}a: {}\r\n\r\n", "x".repeat(LIMIT)), "too large"),
        (format!("{ok}a: {}", "x".repeat(LIMIT)), "too large"),
        ("HTTP/1.1 103 E\r\n\r\n".repeat(LIMIT / 10), "too large"),
        (format!("{chunked}x\r\n"), "a chunk's length"),
        (format!("{chunked}\r\n"), "a chunk's length"),
        (format!("{chunked}+2\r\nok"), "a chunk's length"),
        (format!("{chunked}0x2\r\nok"), "a chunk's length"),
        (format!("{chunked}11111111111111111\r\n"), "a chunk's length"),
        (format!("{chunked}00000000000000002\r\nok"), "a chunk's length"),
        (format!("{chunked}2\nok"), "a chunk's length"),
        (format!("{chunked}2;a\nok"), "does not end"),
        (format!("{chunked}2\rxok"), "does not end"),
        (format!("{chunked}2\r\nokxx"), "does not end"),
        (format!("{chunked}2\r\nok\rx"), "does not end"),
        (format!("{chunked}0\r\nx: y\n\r\n"), "does not end"),
        (format!("{chunked}2;{}\r\nok", "x".repeat(20_000)), "too much"),
        (format!("{chunked}0\r\n{}\r\n", "x: y\r\n".repeat(20_000)), "too much"),
    ] {
        let error = of(&response).unwrap_err();
        let shown: String = response.chars().take(80).collect();
        assert!(error.contains(why), "{shown:?}: {error}");
    }
}

#[test]
fn headers_keep_their_order_their_repetitions_and_their_bytes() {
    let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nx-empty:\r\nset-cookie:  b \r\nx-high: \xff\r\ncontent-length: 0\r\n\r\n";
    let (_, headers, ..) = seen(&Method::GET, response, &[]).unwrap().unwrap();
    let expect: [(&str, &[u8]); 5] = [
        ("set-cookie", b"a"),
        ("set-cookie", b"b"),
        ("x-empty", b""),
        ("x-high", b"\xff"),
        ("content-length", b"0"),
    ];
    let expect = expect.map(|(name, value)| (name.to_owned(), value.to_vec()));
    assert_eq!(headers, expect);
}

fn chunked_body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{0,3})?");
    (prop::collection::vec(chunk, 0..6), "([a-z]{1,3}: [a-z]{0,3}\r\n){0,2}").prop_map(
        |(chunks, trailers)| {
            // Bytes as code points below 256, which `latin` turns back.
            let mut wire = String::new();
            let mut body = Vec::new();
            for (data, extension) in chunks {
                let text: String = data.iter().copied().map(char::from).collect();
                let chunk = format!("{:X}{extension}\r\n{text}\r\n", data.len());
                wire.push_str(&chunk);
                body.extend(data);
            }
            (format!("{wire}0\r\n{trailers}\r\n"), body)
        },
    )
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

proptest! {
    #[test]
    fn a_chunked_body_is_its_chunks_however_it_is_cut(
        (wire, body) in chunked_body(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let bytes = latin(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{wire}"));
        let (_, _, read, keeps_open, whole) = seen(&Method::GET, &bytes, &cuts).unwrap().unwrap();
        prop_assert_eq!(read, body);
        prop_assert!(keeps_open && whole);
    }

    #[test]
    fn how_the_bytes_were_cut_changes_nothing(
        start in prop::sample::select(vec![
            "", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ]),
        rest in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[0-3a:;\r\n ]{0,40}".prop_map(String::into_bytes),
            "(content-length: [0-9]{1,2}\r\n|connection: close\r\n|a: b\r\n|\r\n|1\r\nx\r\n|0\r\n\r\n){0,8}".prop_map(String::into_bytes),
        ],
        cuts in any::<[u8; 4]>(),
    ) {
        targets::http1(&[&cuts, start.as_bytes(), &rest].concat());
    }
}
