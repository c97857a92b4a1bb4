-- Whose share it is: the digest of the candidate that the weight was set for; empty: set before this column
-- was there.
ALTER TABLE use_case_state ADD COLUMN candidate TEXT NOT NULL DEFAULT '';
