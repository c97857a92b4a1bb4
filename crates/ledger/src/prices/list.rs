//! The user's own prices as the gateway asks for them: by whose models they are, in constant time.

use std::collections::HashMap;

use super::{PriceRow, canonical, read_file};
use crate::price::Rates;

/// Rows of a price file, by model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceList {
    /// By the model's name in lower case: providers and their rates.
    models: HashMap<String, Vec<(String, Rates)>>,
}

impl PriceList {
    /// Reads a price file as [`super::write_file`] writes it. Two rows for one model of one provider are a mistake.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with(['{', '[']) {
            return Err(
                "it is JSON: make a price file of it with `cutover prices import FILE`".into()
            );
        }
        let mut list = Self::default();
        for row in read_file(text)? {
            list.add(&row)?;
        }
        Ok(list)
    }

    fn add(&mut self, row: &PriceRow) -> Result<(), String> {
        let provider = canonical(&row.provider);
        let rates = Rates {
            input_nano_usd_per_mtok: row.rates.input,
            cached_input_nano_usd_per_mtok: row.rates.cached,
            output_nano_usd_per_mtok: row.rates.output,
        };
        let rows = self.models.entry(row.model.to_ascii_lowercase()).or_default();
        match rows.iter().find(|(known, _)| *known == provider) {
            Some((_, known)) if *known != rates => {
                Err(format!("{}/{} has two prices", row.provider, row.model))
            }
            Some(_) => Ok(()),
            None => {
                rows.push((provider, rates));
                Ok(())
            }
        }
    }

    /// The rates of a model: those of the first of these providers that has any, else those that stand for
    /// any provider. What another provider takes for a model of this name says nothing.
    pub fn find(&self, providers: &[&str], model: &str) -> Option<Rates> {
        let rows = self.models.get(&model.to_ascii_lowercase())?;
        let of = |name: &str| {
            let name = canonical(name);
            rows.iter().find(|(provider, _)| *provider == name).map(|(_, rates)| *rates)
        };
        providers.iter().find_map(|name| of(name)).or_else(|| of(""))
    }

    /// How many models it has.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "provider,model,input_usd_per_mtok,cached_input_usd_per_mtok,\
        cache_write_usd_per_mtok,output_usd_per_mtok,source,date\n\
        openai,gpt-4o,2,1,,8,contract,2026-11-01\n\
        azure_ai,gpt-4o,3,,,9,contract,2026-11-01\n\
        ,own-model,0.1,,,0.2,cutover tco,2026-11-01\n";

    fn input(providers: &[&str], model: &str) -> Option<u64> {
        let found = PriceList::read(FILE).unwrap().find(providers, model);
        found.map(|rates| rates.input_nano_usd_per_mtok)
    }

    #[test]
    fn a_row_holds_for_its_provider_or_for_any() {
        assert_eq!(input(&["openai"], "GPT-4o"), Some(2_000_000_000));
        assert_eq!(input(&["somebody", "azure"], "gpt-4o"), Some(3_000_000_000));
        assert_eq!(input(&["groq"], "gpt-4o"), None, "another's price is not ours");
        assert_eq!(input(&["ollama"], "own-model"), Some(100_000_000));
        assert_eq!(input(&["openai"], "gpt-5"), None);
    }

    #[test]
    fn a_file_that_is_none_or_contradicts_itself_is_refused() {
        assert!(PriceList::read("{\"gpt-4o\": {}}").unwrap_err().contains("cutover prices import"));
        assert!(PriceList::read("model,price\n").is_err());
        let twice = format!("{FILE}openai,gpt-4o,2.5,,,8,list,2026-11-01\n");
        assert_eq!(PriceList::read(&twice).unwrap_err(), "openai/gpt-4o has two prices");
        assert_eq!(PriceList::read(FILE).unwrap().len(), 2);
    }
}
