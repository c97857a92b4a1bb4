//! `json-schema`: the answer is a JSON document that a schema accepts.
//!
//! Score 100 and valid, or 0 and invalid. Each answer is judged alone, so no reference is needed and
//! the score means form, not content. JSON Schema drafts 4 to 2020-12, by the document's `$schema`,
//! else 2020-12, where `format` says something and demands nothing.

use super::{Scorer, build};
use crate::json::{Fences, document};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::schema::{Allowance, Schema};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{ArmScore, PairScore, Subject};

pub(super) const ROW: Row = Row {
    kind: "json-schema",
    doc: "The answer is a JSON document that the schema accepts.",
    meaning: "100 or 0: validity of each answer alone; says nothing about its content",
    source: "JSON Schema draft 2020-12 (json-schema.org)",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::required(
            "schema",
            OptionType::Document,
            "The schema. It refers to nothing outside itself.",
        ),
        OptionRow::new(
            "fences",
            OptionType::Choice(Fences::CHOICES),
            "\"reject\"",
            "What a Markdown code fence around the document is: a mistake, or nothing.",
        ),
    ],
    build: build::<JsonSchema>,
};

struct JsonSchema {
    schema: Schema,
    fences: Fences,
}

impl Scorer for JsonSchema {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        let schema = Schema::read("schema", options.text("schema"))?;
        Ok(JsonSchema { schema, fences: Fences::named(options.text("fences")) })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        Ok(Step::Done(PairScore::of_each(subject, |answer| {
            let valid = document(&answer.text, self.fences)
                .is_some_and(|value| self.schema.accepts(&value, &Allowance::default()));
            ArmScore::passed(valid).with_valid(valid)
        })))
    }
}
