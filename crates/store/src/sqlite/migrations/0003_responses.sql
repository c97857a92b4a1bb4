-- Answers that clients of the Responses API want kept. owner: the id of a client key, 0 where none is
-- needed.
CREATE TABLE responses (
    id         TEXT PRIMARY KEY,
    owner      INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    previous   TEXT,
    local_only INTEGER NOT NULL CHECK (local_only IN (0, 1)),
    document   TEXT NOT NULL
) STRICT;

CREATE INDEX responses_by_time ON responses (at_ms);
