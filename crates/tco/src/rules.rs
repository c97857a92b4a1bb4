//! When not to migrate: what articles advise, as rules over what is said of the case.
//!
//! Money is computed; these are the reasons that no sum shows. A rule takes options out of the choice, or only
//! says something beside it.

use serde_json::Value;

use cutover_units::did_you_mean;

use crate::scenario::Kind;
use cutover_units::Wrong;

/// What is said of a case besides figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Developers who could operate it; none if it was not said.
    pub developers: Option<u64>,
    /// The conditions that hold, by name.
    pub holds: Vec<&'static str>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// The condition's name in a scenario.
    pub name: &'static str,
    /// What it says of the case.
    pub doc: &'static str,
    /// The options that are out if it holds.
    pub out: &'static [Kind],
    /// Why.
    pub why: &'static str,
    /// Who advises so.
    pub source: &'static str,
}

const OPEN: &[Kind] = &[Kind::Hosted, Kind::Rent, Kind::Own];
const MACHINES: &[Kind] = &[Kind::Rent, Kind::Own];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "creative",
        doc: "the task is ultra-creative: marketing, storytelling, brainstorming",
        out: OPEN,
        why: "ultra-creative tasks are said to stay better with the large cloud models",
        source: "case study",
    },
    Rule {
        name: "critical",
        doc: "errors are not tolerated: medical, legal, critical finance",
        out: OPEN,
        why: "where no error is tolerated a provider's certifications are part of the product",
        source: "case study",
    },
    Rule {
        name: "multimodal",
        doc: "advanced vision or audio is needed",
        out: OPEN,
        why: "advanced vision and audio are limited in self-hosted stacks",
        source: "case study",
    },
    Rule {
        name: "frontier",
        doc: "the capabilities of the newest large models are needed",
        out: OPEN,
        why: "the newest capabilities are not in open models",
        source: "playbook",
    },
    Rule {
        name: "enterprise_sla",
        doc: "an availability around the clock is owed by contract",
        out: MACHINES,
        why: "an availability owed by contract needs people around the clock",
        source: "playbook",
    },
    Rule {
        name: "no_operators",
        doc: "nobody can operate GPU servers",
        out: MACHINES,
        why: "nobody is there to operate, watch and mend the servers",
        source: "playbook",
    },
    Rule {
        name: "data_must_stay",
        doc: "prompts may not leave for a model that somebody else runs",
        out: &[Kind::Today, Kind::Cheaper, Kind::Hosted],
        why: "the data may not leave: only one's own or rented machines are a choice",
        source: "case study",
    },
];

/// Developers below which nothing is operated, after the case study.
pub const DEVELOPERS_MIN: u64 = 2;

/// A rule that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: &'static str,
    /// The options that it takes out.
    pub out: &'static [Kind],
    /// Why.
    pub why: String,
    /// Who advises so.
    pub source: &'static str,
}

impl Conditions {
    /// Takes one of them.
    pub(crate) fn take(&mut self, name: &str, value: &Value) -> Result<(), Wrong> {
        if name == "developers" {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            self.developers = Some(
                number.ok_or_else(|| Wrong::new("conditions.developers is not a whole number"))?,
            );
            return Ok(());
        }
        let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
            let known = RULES.iter().map(|rule| rule.name).chain(["developers"]);
            let wrong = Wrong::new(format!("conditions.{name} is not known"));
            return Err(match did_you_mean(name, known.clone()) {
                Some(hint) => wrong.hint(hint),
                None => wrong.hint(format!("known: {}", known.collect::<Vec<_>>().join(", "))),
            });
        };
        let holds = value
            .as_bool()
            .ok_or_else(|| Wrong::new(format!("conditions.{name} is not true or false")))?;
        self.holds.retain(|other| *other != rule.name);
        if holds {
            self.holds.push(rule.name);
        }
        Ok(())
    }

    /// The rules that apply.
    pub fn applied(&self) -> Vec<Applied> {
        let rules = RULES.iter().filter(|rule| self.holds.contains(&rule.name));
        let mut out: Vec<Applied> = rules
            .map(|rule| Applied {
                name: rule.name,
                out: rule.out,
                why: rule.why.to_owned(),
                source: rule.source,
            })
            .collect();
        if let Some(n) = self.developers.filter(|n| *n < DEVELOPERS_MIN) {
            out.push(Applied {
                name: "developers",
                out: MACHINES,
                why: format!(
                    "{n} developer(s): fewer than {DEVELOPERS_MIN} leave no time for GPU servers"
                ),
                source: "case study",
            });
        }
        out
    }
}
