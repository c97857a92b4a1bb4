//! What the load client counts.

use std::cell::{Cell, RefCell};

use hdrhistogram::Histogram;

pub struct Tally {
    pub lat: RefCell<Histogram<u64>>,
    pub ttft: RefCell<Histogram<u64>>,
    pub transit: RefCell<Histogram<u64>>,
    pub gap: RefCell<Histogram<u64>>,
    pub ok: Cell<u64>,
    pub err: Cell<u64>,
    pub chunks: Cell<u64>,
    pub reads: Cell<u64>,
    pub reconnects: Cell<u64>,
    pub issued: Cell<u64>,
    pub last_err: RefCell<String>,
}

fn hist() -> RefCell<Histogram<u64>> {
    RefCell::new(Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap())
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            lat: hist(),
            ttft: hist(),
            transit: hist(),
            gap: hist(),
            ok: Cell::new(0),
            err: Cell::new(0),
            chunks: Cell::new(0),
            reads: Cell::new(0),
            reconnects: Cell::new(0),
            issued: Cell::new(0),
            last_err: RefCell::new(String::new()),
        }
    }

    pub fn fail(&self, e: impl ToString) {
        self.err.set(self.err.get() + 1);
        *self.last_err.borrow_mut() = e.to_string();
    }
}

pub fn quant(name: &str, h: &RefCell<Histogram<u64>>) -> String {
    let h = h.borrow();
    if h.is_empty() {
        return String::new();
    }
    let us = |q: f64| h.value_at_quantile(q) as f64 / 1000.0;
    format!(
        ",\"{name}_mean_us\":{:.1},\"{name}_p50_us\":{:.1},\"{name}_p90_us\":{:.1},\"{name}_p99_us\":{:.1},\"{name}_p999_us\":{:.1},\"{name}_max_us\":{:.1}",
        h.mean() / 1000.0,
        us(0.5),
        us(0.9),
        us(0.99),
        us(0.999),
        h.max() as f64 / 1000.0
    )
}
