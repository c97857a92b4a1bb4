-- Which upstreams were sent a request's body, as a JSON list; `copy:NAME` for a copy that followed.
ALTER TABLE records ADD COLUMN seen_by TEXT;
-- Why it went to the baseline although it was the candidate's: the candidate's upstream was full.
ALTER TABLE records ADD COLUMN overflow TEXT;
-- How long it waited for a place at its upstream.
ALTER TABLE records ADD COLUMN queued_us INTEGER;
-- What overflow has cost today is asked at each start.
CREATE INDEX records_overflow ON records (at_ms) WHERE overflow IS NOT NULL;

-- Whether a key's requests stay with local upstreams, and whether nobody waits for its answers.
ALTER TABLE keys ADD COLUMN local_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;
