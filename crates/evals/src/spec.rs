//! A scorer as configured: kind, options, and the version that evidence belongs to.

use std::fmt;
use std::sync::Arc;

use cutover_units::nearest;
use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::judge::{JudgeFloor, JudgeHealth};
use crate::options::{OptionProblem, OptionRow, Options};
use crate::refusal::Refusal;
use crate::scorers::{SCORERS, Scorer};
use crate::step::{AskAnswer, ScoreError, Step};
use crate::subject::{ArmScore, PairScore, Subject};

/// What a score of this kind may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be a gate's source.
    MayGate,
    /// It may be one once people have checked it ([`JudgeHealth`]).
    NeedsHealth,
    /// It may never be a required gate's source.
    Advisory,
}

/// A kind of scorer.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in a config file.
    pub kind: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// What its score means.
    pub meaning: &'static str,
    /// Where its formula comes from.
    pub source: &'static str,
    /// What it may decide.
    pub standing: Standing,
    /// Whether it needs the outside: a program, a server, a model.
    pub asks: bool,
    /// Grows whenever the same options begin to score differently, so that old evidence ends.
    pub revision: u32,
    /// Its options.
    pub options: &'static [OptionRow],
    pub(crate) build: fn(&Options) -> Result<Arc<dyn Scorer>, OptionProblem>,
}

impl Row {
    /// The row of a kind.
    pub fn find(kind: &str) -> Option<&'static Self> {
        SCORERS.iter().find(|row| row.kind == kind)
    }

    /// Whether its scores say of each answer if it keeps its form: what a gate on invalid answers is
    /// measured on.
    pub fn judges_form(&self) -> bool {
        ["json-schema", "json-fields", "tool-calls", "numeric", "code-runs"].contains(&self.kind)
    }
}

/// A scorer, ready to score. Cheap to clone.
#[derive(Clone)]
pub struct ScorerSpec {
    row: &'static Row,
    options: Options,
    scorer: Arc<dyn Scorer>,
}

impl ScorerSpec {
    /// Reads a scorer's options.
    pub fn from_options(kind: &str, options: &Map<String, Value>) -> Result<Self, OptionProblem> {
        let Some(row) = Row::find(kind) else {
            let problem = OptionProblem::new("kind", format!("there is no scorer {kind:?}"));
            return Err(match nearest(kind, SCORERS.iter().map(|row| row.kind)) {
                Some(near) => problem.suggest(format!("did you mean {near:?}?")),
                None => problem,
            });
        };
        let options = Options::read(row.options, options)?;
        let scorer = (row.build)(&options)?;
        Ok(Self { row, options, scorer })
    }

    /// Its row in the table.
    pub fn row(&self) -> &'static Row {
        self.row
    }

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        self.row.kind
    }

    /// All options, defaults included, in the order of the table.
    pub fn options(&self) -> &Map<String, Value> {
        self.options.values()
    }

    /// The configured variant that it asks, if it asks one.
    pub fn variant(&self) -> Option<&str> {
        self.options.given("variant")
    }

    /// SHA-256, in hexadecimal, over kind, revision and all options. Equal digests score alike; a
    /// changed scorer is another version, and evidence starts again.
    pub fn version_digest(&self) -> String {
        let mut sorted: Vec<(&String, &Value)> = self.options().iter().collect();
        sorted.sort_by_key(|(key, _)| key.as_str());
        let text = serde_json::json!([self.row.kind, self.row.revision, sorted]).to_string();
        cutover_units::hex(&Sha256::digest(text.as_bytes()))
    }

    /// Whether its scores may be a required gate's source. A judge shows its record, and what it is
    /// held against.
    pub fn may_gate(&self, health: Option<(&JudgeHealth, JudgeFloor)>) -> Result<(), Refusal> {
        match (self.row.standing, health) {
            (Standing::MayGate, _) => Ok(()),
            (Standing::Advisory, _) => Err(Refusal::Advisory(self.row.kind)),
            (Standing::NeedsHealth, None) => Err(Refusal::NoHealth(self.row.kind)),
            (Standing::NeedsHealth, Some((health, floor))) => health.may_gate(floor),
        }
    }

    /// Scores a pair, or says what is needed for it. Two failed answers score nothing unasked.
    pub fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        if subject.baseline.failed && subject.candidate.failed {
            return Ok(Step::Done(PairScore::new(ArmScore::FAILED, ArmScore::FAILED)));
        }
        let step = self.scorer.begin(&subject.with_known_expected())?;
        debug_assert!(!matches!(&step, Step::Ask(asks) if asks.is_empty()), "asks for nothing");
        Ok(step)
    }

    /// Scores a pair from the answers to what [`Self::begin`] asked for this same subject, in the
    /// order of the asks. A failed answer scores nothing, whatever the outside said.
    pub fn resume(
        &self,
        subject: &Subject<'_>,
        answers: &[AskAnswer],
    ) -> Result<PairScore, ScoreError> {
        let mut score = self.scorer.resume(&subject.with_known_expected(), answers)?;
        if subject.baseline.failed {
            score.baseline = ArmScore::FAILED;
        }
        if subject.candidate.failed {
            score.candidate = ArmScore::FAILED;
        }
        Ok(score)
    }
}

impl fmt::Debug for ScorerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScorerSpec")
            .field("kind", &self.row.kind)
            .field("options", self.options.values())
            .finish_non_exhaustive()
    }
}

impl PartialEq for ScorerSpec {
    fn eq(&self, other: &Self) -> bool {
        self.row.kind == other.row.kind && self.options == other.options
    }
}

impl Serialize for ScorerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.row.kind)?;
        for (key, value) in self.options() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ScorerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::<String, Value>::deserialize(deserializer)?;
        let Some(Value::String(kind)) = map.shift_remove("kind") else {
            return Err(D::Error::missing_field("kind"));
        };
        Self::from_options(&kind, &map).map_err(D::Error::custom)
    }
}
