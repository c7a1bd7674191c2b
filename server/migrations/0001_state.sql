-- The federation's log: exact leaf bytes, never updated, never deleted.
CREATE TABLE leaves (
    idx   INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- The newest signed checkpoint; written in the transaction that adds the leaves it covers.
CREATE TABLE head (
    id         INTEGER PRIMARY KEY CHECK (id = 0),
    checkpoint TEXT NOT NULL
) STRICT;

-- One-time invitations. Only the token's hash is kept.
CREATE TABLE invitations (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    token_sha256 BLOB    NOT NULL UNIQUE,
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER NOT NULL,
    revoked_ms   INTEGER,
    used_ms      INTEGER,
    merchant     TEXT
) STRICT;

CREATE TABLE merchants (
    name         TEXT    PRIMARY KEY,
    identity     BLOB    NOT NULL UNIQUE,
    certificate  BLOB    NOT NULL,
    fingerprint  BLOB    NOT NULL UNIQUE,
    not_after_ms INTEGER NOT NULL,
    invitation   INTEGER NOT NULL REFERENCES invitations (id),
    enrolled_ms  INTEGER NOT NULL,
    revoked_ms   INTEGER,
    last_round   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One-time pre-keys; `used_in_round` is set before the offer that uses one is published, to 0 when one is
-- discarded unused.
CREATE TABLE prekeys (
    merchant      TEXT    NOT NULL REFERENCES merchants (name),
    idx           INTEGER NOT NULL,
    bundle        BLOB    NOT NULL,
    used_in_round INTEGER,
    PRIMARY KEY (merchant, idx)
) STRICT;

CREATE TABLE rounds (
    round        INTEGER PRIMARY KEY,
    sid          BLOB    NOT NULL UNIQUE,
    state        TEXT    NOT NULL CHECK (state IN ('open', 'closed', 'abandoned')),
    started_ms   INTEGER NOT NULL,
    ended_ms     INTEGER,
    ledger_index INTEGER
) STRICT;

-- Where in the log each merchant's charge for a round lies.
CREATE TABLE charges (
    round        INTEGER NOT NULL REFERENCES rounds (round),
    merchant     TEXT    NOT NULL REFERENCES merchants (name),
    ledger_index INTEGER NOT NULL,
    PRIMARY KEY (round, merchant)
) STRICT;

-- Published models; the files lie beside the database.
CREATE TABLE models (
    version          INTEGER PRIMARY KEY,
    sha256           BLOB    NOT NULL,
    length           INTEGER NOT NULL,
    round            INTEGER,
    ledger_index     INTEGER NOT NULL,
    optimizer_sha256 BLOB    NOT NULL,
    at_ms            INTEGER NOT NULL
) STRICT;
