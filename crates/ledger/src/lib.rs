//! Prices, and what a request cost.
//!
//! A cost is either known or it is not: a model without a price is *unpriced*, never free. Sums are
//! integers of billionths of a US dollar. Pure: the time of the request is an argument, and the price
//! catalogue is compiled in.

mod price;

pub use price::{CATALOGUE, Cost, Price, Rates, Tokens};
