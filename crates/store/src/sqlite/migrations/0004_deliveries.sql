-- Who is still to be told of which decision: an outbox, filled in the transaction that decides. What is
-- told is read from decisions. state: waiting, delivered, or undelivered (given up).
CREATE TABLE deliveries (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook    TEXT NOT NULL,
    decision   INTEGER NOT NULL REFERENCES decisions (seq),
    created_ms INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting'
               CHECK (state IN ('waiting', 'delivered', 'undelivered')),
    tries      INTEGER NOT NULL DEFAULT 0,
    next_ms    INTEGER NOT NULL,
    ended_ms   INTEGER,
    why        TEXT,
    UNIQUE (webhook, decision)
) STRICT;

CREATE INDEX deliveries_waiting ON deliveries (webhook, next_ms) WHERE state = 'waiting';
CREATE INDEX deliveries_ended ON deliveries (ended_ms) WHERE ended_ms IS NOT NULL;

-- The generation whose commit wrote the evidence. Windows of later ones are not in it yet: whoever reads
-- it absorbs them again. NULL: none are later.
ALTER TABLE rollouts ADD COLUMN evidence_generation INTEGER;
