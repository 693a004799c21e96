-- Times in which a service failed beyond its own past. The id is a UUID of version 7: its order is that of time.
CREATE TABLE incident (
    id                    BLOB PRIMARY KEY CHECK (length(id) = 16),
    service               TEXT NOT NULL,
    began_unix_millis     INTEGER NOT NULL,
    opened_unix_millis    INTEGER NOT NULL,
    closed_unix_millis    INTEGER,
    closed_by             TEXT CHECK ((closed_by IS NULL) = (closed_unix_millis IS NULL)),
    reopened              INTEGER NOT NULL,
    requests              INTEGER NOT NULL,
    failed                INTEGER NOT NULL,
    peak_share            REAL NOT NULL,
    usual_share           REAL NOT NULL,
    cause                 TEXT,
    confidence            REAL,
    summary               TEXT,
    diagnosed_unix_millis INTEGER,
    -- JSON, in the form of docs/report.schema.json.
    report                TEXT
) STRICT, WITHOUT ROWID;

-- The few that are open are asked for at every start.
CREATE INDEX incident_open ON incident (service) WHERE closed_unix_millis IS NULL;
