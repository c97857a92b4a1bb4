CREATE TABLE drains (
    upstream TEXT NOT NULL,
    address  TEXT NOT NULL,
    actor    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (upstream, address)
) STRICT, WITHOUT ROWID;
