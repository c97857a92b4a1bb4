CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The last weight of each use case. Compared and set on generation.
CREATE TABLE use_case_state (
    use_case    TEXT PRIMARY KEY,
    weight_bp   INTEGER NOT NULL CHECK (weight_bp BETWEEN 0 AND 10000),
    generation  INTEGER NOT NULL CHECK (generation > 0),
    updated_ms  INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    rolled_back INTEGER NOT NULL CHECK (rolled_back IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The audit log. entry is JSON; hash = SHA-256(domain, previous, entry).
CREATE TABLE changes (
    seq      INTEGER PRIMARY KEY,
    entry    TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL
) STRICT;

-- Against mistakes; the chain of hashes is against intent.
CREATE TRIGGER changes_are_not_altered BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER changes_are_not_removed BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- Client keys. hash = SHA-256(domain, salt in meta, key).
CREATE TABLE keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    prefix     TEXT NOT NULL,
    hash       BLOB NOT NULL,
    use_case   TEXT,
    limits     TEXT,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

-- One row per request. Money in billionths of a dollar, NULL is unpriced. losses is a JSON array.
CREATE TABLE records (
    id                INTEGER PRIMARY KEY,
    request_id        TEXT NOT NULL,
    at_ms             INTEGER NOT NULL,
    use_case          TEXT,
    arm               TEXT NOT NULL,
    answered_arm      TEXT,
    variant           TEXT,
    upstream          TEXT,
    instance          TEXT,
    endpoint          TEXT NOT NULL,
    stream            INTEGER NOT NULL,
    assignment        TEXT NOT NULL,
    bucket            INTEGER,
    unit_hash         INTEGER NOT NULL,
    outcome           TEXT NOT NULL,
    status            INTEGER NOT NULL,
    code              TEXT,
    first_token_us    INTEGER,
    total_us          INTEGER NOT NULL,
    overhead_us       INTEGER NOT NULL,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cached_tokens     INTEGER,
    usage_estimated   INTEGER NOT NULL,
    cost_nano_usd     INTEGER,
    price_source      TEXT,
    finish_reason     TEXT,
    attempts          INTEGER NOT NULL,
    failed_over       INTEGER NOT NULL,
    losses            TEXT,
    key_name          TEXT,
    sdk_retry         INTEGER NOT NULL
) STRICT;

CREATE INDEX records_by_time ON records (at_ms);
