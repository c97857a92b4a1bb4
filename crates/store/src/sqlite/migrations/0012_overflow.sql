-- What an overflowed request counts as against its use case's money for the day: what it cost, and its
-- estimate where nobody told.
ALTER TABLE record_rows ADD COLUMN overflow_nano_usd INTEGER;

DROP VIEW records;
CREATE VIEW records AS
SELECT r.id, r.request_id, r.at_ms, k.use_case, k.arm, k.answered_arm, k.variant, k.upstream, k.instance,
    k.endpoint, k.stream, k.assignment, r.bucket, r.unit_hash, k.outcome, k.status, k.code,
    r.first_token_us, r.total_us, r.overhead_us, r.prompt_tokens, r.completion_tokens, r.cached_tokens,
    k.usage_estimated, r.cost_nano_usd, k.price_source, k.finish_reason, k.attempts, k.failed_over,
    k.losses, r.key_name, k.sdk_retry, r.share_bp, k.prompt, k.marks, k.seen_by, r.overflow, r.queued_us,
    r.bytes_up, r.bytes_down, r.overflow_nano_usd
-- CROSS: the rows first, each one's kind by its number.
FROM record_rows r CROSS JOIN record_kinds k ON k.id = r.kind;
