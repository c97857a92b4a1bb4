//! Anthropic: the usage and cost reports of the Admin API.
//!
//! Input leaves cached tokens out here; they are added. There is no request count, so none is given.
//! Amounts are decimal texts in cents.

use serde_json::Value;

use super::{Context, Fields, Import, Item, Sink, beside_cache, labels, money, name, results};
use crate::audit::{Granularity, Tier, UsageRecord, identity};
use crate::money::scaled;

pub(super) const USAGE: Import = Import {
    name: "anthropic-usage",
    title: "Anthropic usage report",
    from: "GET /v1/organizations/usage_report/messages?group_by[]=model&group_by[]=workspace_id",
    schema: "platform.claude.com Admin API (read 2026-11-21)",
    rows: "buckets of a minute, an hour or a day, without a request count",
    fits: |item| bucket_of(item, "uncached_input_tokens"),
    read: |item, context, sink| buckets(item, context, sink, usage),
};

pub(super) const COSTS: Import = Import {
    name: "anthropic-costs",
    title: "Anthropic cost report",
    from: "GET /v1/organizations/cost_report?group_by[]=description",
    schema: "platform.claude.com Admin API (read 2026-11-21)",
    rows: "amounts of a day",
    fits: |item| bucket_of(item, "amount"),
    read: |item, context, sink| buckets(item, context, sink, costs),
};

fn bucket_of(item: &Item<'_>, member: &str) -> bool {
    let Item::Json { value, .. } = item else { return false };
    let known = |result: &Value| result.get(member).is_some();
    value.get("starting_at").is_some() && results(value).is_some_and(|all| all.iter().any(known))
}

type Span = (cutover_units::Millis, cutover_units::Millis);
type Reads = fn(Span, &Fields<'_>) -> Result<UsageRecord, String>;

fn buckets(item: &Item<'_>, context: &Context<'_>, sink: &mut Sink<'_>, reads: Reads) {
    let Item::Json { value, .. } = item else {
        return sink.take(Err("no bucket".to_owned()));
    };
    let Some(results) = results(value) else {
        return sink.take(Err("no bucket: results are missing".to_owned()));
    };
    let fields = Fields::Json(value);
    let from = sink.time(&fields, "starting_at", context);
    let until = sink.time(&fields, "ending_at", context);
    let span = from.and_then(|from| Ok((from, until?)));
    for result in results {
        let record = span.clone().and_then(|span| reads(span, &Fields::Json(result)));
        sink.take(record);
    }
}

fn usage((from, until): Span, fields: &Fields<'_>) -> Result<UsageRecord, String> {
    let count = |name: &str| fields.count(name).map(|n| n.unwrap_or(0));
    let written = count("cache_creation.ephemeral_5m_input_tokens")?
        .saturating_add(count("cache_creation.ephemeral_1h_input_tokens")?);
    let uncached = fields.needed("uncached_input_tokens")?;
    let cached = count("cache_read_input_tokens")?;
    let tier = match fields.text("service_tier").as_deref() {
        None | Some("standard") => Tier::Standard,
        Some("batch") => Tier::Batch,
        Some(_) => Tier::Other,
    };
    let record = UsageRecord {
        provider: Some("anthropic".into()),
        model: name(fields.text("model")),
        labels: labels(fields.owned("workspace_id"), fields.owned("api_key_id"), None),
        tokens: Some(beside_cache(
            (uncached, cached, written),
            Some(fields.needed("output_tokens")?),
        )),
        tier,
        ..UsageRecord::at(Granularity::Bucket, from, until)
    };
    let more = (fields.owned("context_window"), fields.owned("inference_geo"));
    Ok(record.identify(("anthropic", more)))
}

fn costs((from, until): Span, fields: &Fields<'_>) -> Result<UsageRecord, String> {
    let amount = fields.text("amount").ok_or("amount is missing")?;
    // Cents: two places less than dollars.
    let nano = scaled(&amount, 7).map_err(|why| format!("amount: {why}"))?;
    let record = UsageRecord {
        provider: Some("anthropic".into()),
        model: name(fields.text("model")),
        labels: labels(fields.owned("workspace_id"), None, None),
        cost: money(Some(nano), fields.text("currency").as_deref()),
        ..UsageRecord::at(Granularity::Invoice, from, until)
    };
    let kind = ["description", "cost_type", "token_type", "service_tier", "context_window"]
        .map(|name| fields.owned(name));
    Ok(record.identify(identity(("anthropic-costs", kind))))
}
