-- Small facts about this data directory, by name.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Tokens of the management API. Only the SHA-256 of a token is kept: it is 256 random bits, so no slow hash is needed.
CREATE TABLE token (
    id                  INTEGER PRIMARY KEY,
    kind                TEXT NOT NULL CHECK (kind IN ('admin')),
    hash                BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_unix_millis INTEGER NOT NULL
) STRICT;
