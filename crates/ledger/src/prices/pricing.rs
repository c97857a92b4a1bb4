//! The price of an upstream's models, as requests ask for it.
//!
//! The catalogue is decoded at its first use, which takes some 26 MB and 40 ms. So it is asked only
//! about upstreams it can know: services of others at public addresses. A gateway in front of local
//! engines never pays for it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cutover_units::Millis;

use super::{Catalogued, PriceList, undated};
use crate::price::{Cost, Price, Tokens};

/// How tokens are priced.
#[derive(Debug)]
pub enum Pricing {
    /// The model never changes, nor does its price.
    Fixed(Price),
    /// The client names the model; the last one looked up is remembered.
    ByModel(PriceSource, ArcSwapOption<(Arc<str>, Price)>),
}

impl Pricing {
    /// The price of whatever model a client names.
    pub fn by_model(source: PriceSource, now: Millis) -> Self {
        // Decodes the catalogue now rather than while the first request waits.
        let _ = source.look_up("", now);
        Self::ByModel(source, ArcSwapOption::empty())
    }

    /// What a request cost. None: unpriced.
    pub fn cost(&self, model: &Arc<str>, tokens: Tokens, at: Millis) -> Option<Cost> {
        let (source, last) = match self {
            Self::Fixed(price) => return price.cost(tokens, at),
            Self::ByModel(source, last) => (source, last),
        };
        if !source.priced && source.list.is_empty() {
            return None;
        }
        if let Some(known) = &*last.load()
            && known.0 == *model
        {
            return known.1.cost(tokens, at);
        }
        let price = source.look_up(model, at);
        let cost = price.cost(tokens, at);
        last.store(Some(Arc::new((Arc::clone(model), price))));
        cost
    }
}

/// Where the prices of an upstream's models are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceSource {
    /// The user's price file.
    pub list: Arc<PriceList>,
    /// Under whose name its rows may stand: the vendor's, the upstream's own, its provider's.
    pub names: Vec<String>,
    /// What the catalogue calls the provider; None: it is known by its address.
    pub provider: Option<String>,
    /// The upstream's address.
    pub url: String,
    /// Whether the catalogue is asked at all.
    pub priced: bool,
}

impl PriceSource {
    /// Whose models the catalogue is asked about.
    fn catalogued(&self) -> Catalogued<'_> {
        match (self.priced, self.provider.as_deref()) {
            (false, _) => Catalogued::No,
            (true, Some(provider)) => Catalogued::Of(Some(provider)),
            (true, None) => Catalogued::At(&self.url),
        }
    }

    /// The price of a model: the price file's, else the catalogue's.
    pub fn look_up(&self, model: &str, now: Millis) -> Price {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if let Some(rates) = self.list.find(&names, model) {
            return Price::Listed(rates);
        }
        if !self.list.is_empty()
            && let Some(bare) = undated(self.catalogued(), model, now)
            && let Some(rates) = self.list.find(&names, bare)
        {
            return Price::ListedUndated(rates);
        }
        if !self.priced {
            return Price::Unpriced;
        }
        Price::look_up(self.provider.as_deref(), &self.url, model, now)
    }
}
