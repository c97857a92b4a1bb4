-- The version of the prompt that a request was answered with, such as extraction@3.
ALTER TABLE records ADD COLUMN prompt TEXT;

-- Versions of prompts. Never changed and never deleted: a record names them for ever.
CREATE TABLE prompts (
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    text       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    note       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TRIGGER prompts_do_not_change BEFORE UPDATE ON prompts
BEGIN SELECT RAISE(ABORT, 'a version of a prompt does not change'); END;
CREATE TRIGGER prompts_stay BEFORE DELETE ON prompts
BEGIN SELECT RAISE(ABORT, 'a version of a prompt is not deleted'); END;

-- Where the labels are. Compared and set on generation, which each move raises by one.
CREATE TABLE prompt_labels (
    name       TEXT NOT NULL,
    label      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    actor      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    moved_ms   INTEGER NOT NULL,
    PRIMARY KEY (name, label),
    FOREIGN KEY (name, version) REFERENCES prompts (name, version)
) STRICT, WITHOUT ROWID;
