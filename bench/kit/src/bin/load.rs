//! The load client: one thread, raw HTTP/1.1 over keep-alive connections, one JSON line out.
//!
//! load MODE [--key value ...]
//!   closed  --conns N --secs S           closed loop: N connections, the next request on each reply
//!   open    --rate R --secs S            open loop: request k leaves at start + k/R; latency counts from then
//!   stream  --conns N --secs S           N concurrent SSE streams, each followed by the next until S has passed
//! common: --host 127.0.0.1 --port P --path /v1/chat/completions --model mock --size BYTES
//!         --header 'K: V' (repeatable) --spread MS (stream: starts spread over MS) --count N (stop after N requests)
//!         --grace S (seconds that what is under way may take at the end)

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use kit::ask::{opts, request_bytes};
use kit::client::{Conn, plain_request, stream_request};
use kit::now_ns;
use kit::tally::{Tally, quant};
use kit::timer::Timer;

fn main() -> io::Result<()> {
    let o = Rc::new(opts());
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&rt, async move {
        let t = Rc::new(Tally::new());
        let req = Rc::new(request_bytes(&o, o.mode == "stream"));
        let begin = now_ns();
        let end = begin + (o.secs * 1e9) as u64;
        let mut tasks = Vec::new();
        match o.mode.as_str() {
            "closed" | "stream" => {
                for i in 0..o.conns {
                    let (o, t, req) = (o.clone(), t.clone(), req.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        if o.mode == "stream" && o.spread_ms > 0 {
                            let wait = o.spread_ms as f64 * i as f64 / o.conns as f64;
                            tokio::time::sleep(Duration::from_micros((wait * 1000.0) as u64)).await;
                        }
                        let mut slot = None;
                        while now_ns() < end && t.issued.get() < o.count {
                            t.issued.set(t.issued.get() + 1);
                            if o.mode == "stream" {
                                stream_request(&o, &mut slot, &req, &t).await;
                            } else {
                                plain_request(&o, &mut slot, &req, now_ns(), &t).await;
                            }
                        }
                    }));
                }
            }
            "open" => {
                let idle: Rc<RefCell<Vec<Conn>>> = Rc::default();
                let timer = Timer::new()?;
                let live = Rc::new(Cell::new(0usize));
                let mut k = 0u64;
                loop {
                    let due = begin + (k as f64 / o.rate * 1e9) as u64;
                    if due >= end {
                        break;
                    }
                    k += 1;
                    timer.until(due).await?;
                    t.issued.set(t.issued.get() + 1);
                    if live.get() >= 4096 {
                        t.fail("more than 4096 requests under way");
                        continue;
                    }
                    live.set(live.get() + 1);
                    let (o, t, req, idle, live) = (o.clone(), t.clone(), req.clone(), idle.clone(), live.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        let mut slot = idle.borrow_mut().pop();
                        plain_request(&o, &mut slot, &req, due, &t).await;
                        if let Some(c) = slot {
                            idle.borrow_mut().push(c);
                        }
                        live.set(live.get() - 1);
                    }));
                }
            }
            m => panic!("unknown mode {m:?}"),
        }
        let limit = Duration::from_secs_f64(o.secs + o.grace);
        let late = tokio::time::timeout(limit, async {
            for task in tasks {
                let _ = task.await;
            }
        })
        .await
        .is_err();
        let secs = (now_ns() - begin) as f64 / 1e9;
        println!(
            "{{\"mode\":\"{}\",\"secs\":{secs:.3},\"ok\":{},\"err\":{},\"late\":{late},\"rps\":{:.1},\"chunks\":{},\"chunks_per_s\":{:.1},\"reads\":{},\"conns_opened\":{},\"body_bytes\":{}{}{}{}{},\"last_err\":{:?}}}",
            o.mode,
            t.ok.get(),
            t.err.get(),
            t.ok.get() as f64 / secs,
            t.chunks.get(),
            t.chunks.get() as f64 / secs,
            t.reads.get(),
            t.reconnects.get(),
            req.len(),
            quant("lat", &t.lat),
            quant("ttft", &t.ttft),
            quant("transit", &t.transit),
            quant("gap", &t.gap),
            t.last_err.borrow().chars().filter(|c| c.is_ascii() && *c != '\\' && *c != '"').take(300).collect::<String>(),
        );
        Ok(())
    })
}
