-- The candidate's share when a request's arm was assigned; NULL where nothing is under rollout. Only
-- such requests are looked up by id, to join what users say of them.
ALTER TABLE records ADD COLUMN share_bp INTEGER;
CREATE INDEX records_under_rollout ON records (request_id) WHERE share_bp IS NOT NULL;

-- One row per run. Compared and set on generation, which each commit raises by one. state is JSON,
-- evidence is the planner's own.
CREATE TABLE rollouts (
    seq        INTEGER PRIMARY KEY,
    run        TEXT NOT NULL UNIQUE,
    use_case   TEXT NOT NULL,
    state      TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    evidence   BLOB NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER
) STRICT;

CREATE UNIQUE INDEX one_running_rollout ON rollouts (use_case) WHERE ended_ms IS NULL;
CREATE INDEX rollouts_by_use_case ON rollouts (use_case, seq);

-- The specs a run followed, each from a generation on.
CREATE TABLE rollout_specs (
    run        TEXT NOT NULL REFERENCES rollouts (run),
    generation INTEGER NOT NULL,
    spec       TEXT NOT NULL,
    PRIMARY KEY (run, generation)
) STRICT, WITHOUT ROWID;

-- What was seen between two ticks, in the compact form of codec.rs; generation is the commit's.
CREATE TABLE rollout_windows (
    seq        INTEGER PRIMARY KEY,
    run        TEXT NOT NULL REFERENCES rollouts (run),
    generation INTEGER NOT NULL,
    to_ms      INTEGER NOT NULL,
    content    BLOB NOT NULL,
    UNIQUE (run, generation)
) STRICT;

CREATE INDEX rollout_windows_by_time ON rollout_windows (to_ms);

-- What was decided. entry is JSON; hash = SHA-256(domain, previous, entry).
CREATE TABLE decisions (
    seq      INTEGER PRIMARY KEY,
    run      TEXT NOT NULL,
    use_case TEXT NOT NULL,
    entry    TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL
) STRICT;

CREATE INDEX decisions_by_run ON decisions (run, seq);
CREATE INDEX decisions_by_use_case ON decisions (use_case, seq);

CREATE TRIGGER decisions_are_not_altered BEFORE UPDATE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER decisions_are_not_removed BEFORE DELETE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;

-- Both answers to one request. Texts are NULL where only length and digest are kept.
CREATE TABLE shadow_pairs (
    id                   INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id           TEXT NOT NULL UNIQUE,
    use_case             TEXT NOT NULL,
    run                  TEXT,
    at_ms                INTEGER NOT NULL,
    unit_hash            INTEGER NOT NULL,
    endpoint             TEXT NOT NULL,
    keep                 TEXT NOT NULL,
    prompt               TEXT,
    prompt_bytes         INTEGER NOT NULL,
    prompt_digest        TEXT NOT NULL,
    baseline             TEXT,
    baseline_bytes       INTEGER NOT NULL,
    baseline_digest      TEXT NOT NULL,
    baseline_tool_calls  TEXT,
    baseline_finish      TEXT,
    baseline_served      TEXT NOT NULL,
    candidate            TEXT,
    candidate_bytes      INTEGER NOT NULL,
    candidate_digest     TEXT NOT NULL,
    candidate_tool_calls TEXT,
    candidate_finish     TEXT,
    candidate_served     TEXT NOT NULL
) STRICT;

CREATE INDEX shadow_pairs_by_time ON shadow_pairs (use_case, at_ms);

-- What a scorer says of a pair; scorer is kind@digest. One row per pair and scorer.
CREATE TABLE scores (
    pair          INTEGER NOT NULL REFERENCES shadow_pairs (id) ON DELETE CASCADE,
    scorer        TEXT NOT NULL,
    at_ms         INTEGER NOT NULL,
    baseline      INTEGER CHECK (baseline BETWEEN 0 AND 100),
    candidate     INTEGER CHECK (candidate BETWEEN 0 AND 100),
    why           TEXT,
    detail        TEXT,
    cost_nano_usd INTEGER,
    PRIMARY KEY (pair, scorer)
) STRICT, WITHOUT ROWID;

-- What clients say of answers, as it came; the first of a key for a request counts. matched: 0 not
-- yet, 1 a vote was made of it, 2 given up.
CREATE TABLE feedback (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    key_name   TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    score      INTEGER NOT NULL CHECK (score BETWEEN 0 AND 100),
    comment    TEXT,
    matched    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (request_id, key_name)
) STRICT;

CREATE INDEX feedback_waiting ON feedback (seq) WHERE matched = 0;
CREATE INDEX feedback_by_time ON feedback (at_ms);

-- Feedback joined with the record of its request, in the order in which it was joined.
CREATE TABLE votes (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    feedback  INTEGER NOT NULL UNIQUE REFERENCES feedback (seq) ON DELETE CASCADE,
    use_case  TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    unit_hash INTEGER NOT NULL,
    arm       TEXT NOT NULL,
    share_bp  INTEGER NOT NULL,
    random    INTEGER NOT NULL,
    score     INTEGER NOT NULL
) STRICT;

CREATE INDEX votes_by_use_case ON votes (use_case, seq);
