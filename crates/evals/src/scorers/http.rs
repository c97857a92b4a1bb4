//! `http`: a server of the operator's scores the pair.
//!
//! One POST per pair; request and reply are those of [`external`](crate::external). A status other
//! than 200 is an error: refused for 401, 403 and 429, else a crash.

use super::command::{OUTPUT, TIMEOUT, limits};
use super::{Scorer, build};
use crate::external::{read_reply, request};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{Ask, AskAnswer, Limits, ScoreError, Step};
use crate::subject::{PairScore, Subject};

pub(super) const ROW: Row = Row {
    kind: "http",
    doc: "A server scores the pair: JSON posted, JSON back.",
    meaning: "0 to 100: what the server says",
    source: "the operator's own",
    standing: Standing::MayGate,
    asks: true,
    revision: 1,
    options: &[
        OptionRow::required("url", OptionType::Text, "The address, http or https."),
        OptionRow::new(
            "version",
            OptionType::Text,
            "\"1\"",
            "Change it when the server scores differently: evidence starts again.",
        ),
        TIMEOUT,
        OUTPUT,
    ],
    build: build::<Http>,
};

struct Http {
    url: String,
    limits: Limits,
}

impl Scorer for Http {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        let url = options.text("url");
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            let problem =
                OptionProblem::new("url", "must begin with http:// or https:// and name a host");
            return Err(problem);
        }
        let authority = host.and_then(|host| host.split(['/', '?', '#']).next()).unwrap_or("");
        if authority.contains('@') {
            return Err(OptionProblem::new(
                "url",
                "must not hold credentials: it is stored and shown",
            ));
        }
        Ok(Http { url: url.to_owned(), limits: limits(options) })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let (url, body) = (self.url.clone(), request(subject)?);
        Ok(Step::Ask(vec![Ask::Post { url, body, limits: self.limits }]))
    }

    fn resume(&self, _: &Subject<'_>, answers: &[AskAnswer]) -> Result<PairScore, ScoreError> {
        match answers {
            [AskAnswer::Replied { status: 200, body }] => read_reply(body),
            [AskAnswer::Replied { status: 401 | 403 | 429, .. }] => Err(ScoreError::Refused),
            [AskAnswer::Replied { .. }] => Err(ScoreError::Crashed),
            [AskAnswer::Failed(failure)] => Err((*failure).into()),
            _ => Err(ScoreError::UnreadableReply),
        }
    }
}
