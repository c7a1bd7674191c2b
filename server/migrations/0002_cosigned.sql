-- Checkpoints with the cosignatures that witnesses gave, by size of the log.
CREATE TABLE cosigned (
    size       INTEGER PRIMARY KEY,
    checkpoint TEXT NOT NULL
) STRICT;
