//! Buckets of time with results, as the vendors' usage and cost reports have them: a span, and rows that
//! stand for it as a whole.

use cutover_units::Millis;
use serde_json::Value;

use super::{Context, Fields, Item, Sink, results};

/// From when until when.
pub(super) type Span = (Millis, Millis);

/// Takes one result of a bucket.
pub(super) type Reads = fn(Span, &Fields<'_>, &mut Sink<'_>);

/// The members that say from when until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) from: &'static str,
    pub(super) until: &'static str,
}

impl Ends {
    /// Whether a row is a bucket with a result that is known.
    pub(super) fn of(self, item: &Item<'_>, known: impl Fn(&Value) -> bool) -> bool {
        let Item::Json { value, .. } = item else { return false };
        value.get(self.from).is_some() && results(value).is_some_and(|all| all.iter().any(known))
    }

    /// Reads each result of a bucket.
    pub(super) fn each(
        self,
        item: &Item<'_>,
        (context, sink): (&Context<'_>, &mut Sink<'_>),
        reads: Reads,
    ) {
        let Item::Json { value, .. } = item else {
            return sink.take(Err("no bucket".to_owned()));
        };
        let Some(results) = results(value) else {
            return sink.take(Err("no bucket: results are missing".to_owned()));
        };
        let span = self.span(&Fields::Json(value), context, sink);
        for result in results {
            match &span {
                Ok(span) => reads(*span, &Fields::Json(result), sink),
                Err(why) => sink.take(Err(why.clone())),
            }
        }
    }

    /// Reads a row that is a bucket of one result.
    pub(super) fn row(
        self,
        item: &Item<'_>,
        (context, sink): (&Context<'_>, &mut Sink<'_>),
        reads: Reads,
    ) {
        let Some(fields) = item.fields() else { return sink.take(Err("no row".to_owned())) };
        match self.span(&fields, context, sink) {
            Ok(span) => reads(span, &fields, sink),
            Err(why) => sink.take(Err(why)),
        }
    }

    fn span(
        self,
        fields: &Fields<'_>,
        context: &Context<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Span, String> {
        let from = sink.time(fields, self.from, context)?;
        let until = sink.time(fields, self.until, context)?;
        if until <= from {
            return Err("the bucket ends before it begins".to_owned());
        }
        Ok((from, until))
    }
}
