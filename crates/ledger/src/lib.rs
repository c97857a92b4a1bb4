//! Prices, what a request cost, and what usage exports say.
//!
//! - [`Price`]: the price of a variant, for the gateway.
//! - [`prices`]: rates of cloud models with source and date, overridable, compared with a second opinion.
//! - [`imports`] and [`feed`]: exports of sixteen formats, read as streams into [`audit::UsageRecord`].
//! - [`audit`]: what was used and what it cost, with what nobody knows said.
//!
//! A cost is either known or it is not: a model without a price is *unpriced*, never free. Sums are
//! integers: billionths of a US dollar, or finer. Pure: files come as bytes, the time is an argument, and the
//! price catalogue is compiled in.

pub mod audit;
pub mod feed;
pub mod imports;
mod money;
mod price;
pub mod prices;
mod time;

pub use money::usd_text;
pub use price::{CATALOGUE, Cost, Price, Rates, Tokens};
pub use time::{Offset, day_start};
