-- Secrets of client keys that a rotation replaced and that still open the door until then.
CREATE TABLE former_keys (
    id         INTEGER PRIMARY KEY,
    key_id     INTEGER NOT NULL REFERENCES keys (id),
    hash       BLOB NOT NULL,
    until_ms   INTEGER NOT NULL
) STRICT;
