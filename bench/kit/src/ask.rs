//! What the load client sends: its options, and the request they stand for.

#[derive(Clone)]
pub struct Opts {
    pub mode: String,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub model: String,
    pub headers: Vec<String>,
    pub conns: usize,
    pub secs: f64,
    pub rate: f64,
    pub size: usize,
    pub spread_ms: u64,
    pub count: u64,
    pub grace: f64,
}

pub fn opts() -> Opts {
    let mut args = std::env::args().skip(1);
    let mut o = Opts {
        mode: args.next().unwrap_or_default(),
        host: "127.0.0.1".into(),
        port: 9100,
        path: "/v1/chat/completions".into(),
        model: "mock".into(),
        headers: vec![],
        conns: 32,
        secs: 5.0,
        rate: 200.0,
        size: 1000,
        spread_ms: 500,
        count: u64::MAX,
        grace: 30.0,
    };
    while let Some(k) = args.next() {
        let v = args.next().unwrap_or_else(|| panic!("{k} needs a value"));
        match k.as_str() {
            "--host" => o.host = v,
            "--port" => o.port = v.parse().unwrap(),
            "--path" => o.path = v,
            "--model" => o.model = v,
            "--header" => o.headers.push(v),
            "--conns" => o.conns = v.parse().unwrap(),
            "--secs" => o.secs = v.parse().unwrap(),
            "--rate" => o.rate = v.parse().unwrap(),
            "--size" => o.size = v.parse().unwrap(),
            "--spread" => o.spread_ms = v.parse().unwrap(),
            "--count" => o.count = v.parse().unwrap(),
            "--grace" => o.grace = v.parse().unwrap(),
            _ => panic!("unknown option {k}"),
        }
    }
    o
}

/// A chat request of about `size` bytes: messages first, then model, as the common SDKs write it.
/// The padding is prose with an escape (\n or \") about every 60 bytes and a little UTF-8.
pub fn request_bytes(o: &Opts, stream: bool) -> Vec<u8> {
    let tail = format!(
        "\"}}],\"model\":\"{}\",\"temperature\":0.7,\"max_tokens\":256{}}}",
        o.model,
        if stream { ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" } else { "" }
    );
    let mut body = String::from(
        "{\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant. Answer in one sentence.\"},\
         {\"role\":\"user\",\"content\":\"",
    );
    let lines = [
        "Summarise what this function does and why it may fail under load.\\n",
        "fn route(request: Request) -> Result<Backend, Error> {\\n    let key = ",
        "\\\"use-case\\\"; // pick the backend that has the shortest queue\\n",
        "Bitte antworte höflich; voilà le texte à traduire, and then the rest. ",
    ];
    let mut i = 0;
    while body.len() + tail.len() + 80 < o.size {
        body.push_str(lines[i % lines.len()]);
        i += 1;
    }
    while body.len() + tail.len() < o.size {
        body.push('x');
    }
    body.push_str(&tail);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\naccept: {}\r\nuser-agent: bench/1\r\ncontent-length: {}\r\n",
        o.path,
        o.host,
        o.port,
        if stream { "text/event-stream" } else { "application/json" },
        body.len()
    );
    if !o.headers.iter().any(|h| h.to_ascii_lowercase().starts_with("authorization:")) {
        head.push_str("authorization: Bearer sk-bench\r\n");
    }
    for h in &o.headers {
        head.push_str(h);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut v = head.into_bytes();
    v.extend_from_slice(body.as_bytes());
    v
}
