-- The journal's schema. Version 1; later versions are files in migrations/.
-- Every choice here was made by bytes written to the card: integers for names, no index beyond the rowid.

CREATE TABLE meta (
    journal_id TEXT NOT NULL,           -- random; new for every new, recovered or restored file
    schema     INTEGER NOT NULL
);

-- What the numbers in entries stand for. `seal`, filled in by SQLite, is for salvage.py: a row on a page without
-- context tells by it which table it belongs to and that it is whole. The index over all columns is a second copy.
CREATE TABLE devices (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seal TEXT AS ('devices ' || id || ' ' || name) STORED,
    UNIQUE (id, name, seal)
);
CREATE TABLE sources (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seal TEXT AS ('sources ' || id || ' ' || name) STORED,
    UNIQUE (id, name, seal)
);
CREATE TABLE boots (
    id   INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    seal TEXT AS ('boots ' || id || ' ' || uuid) STORED,
    UNIQUE (id, uuid, seal)
);
-- The names of the values in a reading's body (see shapes.py): a JSON array.
CREATE TABLE shapes (
    id    INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE,
    seal  TEXT AS ('shapes ' || id || ' ' || names) STORED,
    UNIQUE (id, names, seal)
);

-- When the date was known: at `uptime` ns after boot it was `time` (UTC ns).
CREATE TABLE anchors (
    boot    INTEGER NOT NULL REFERENCES boots (id),
    uptime  INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    quality TEXT NOT NULL,
    seal    TEXT AS ('anchors ' || boot || ' ' || uptime || ' ' || time || ' ' || quality) STORED
);

-- position is given by the writer, never reused: trimming always leaves the newest row.
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    kind     INTEGER NOT NULL,          -- 0 reading, 1 command, 2 incident, 3 appliance
    device   INTEGER NOT NULL REFERENCES devices (id),
    time     INTEGER,                   -- UTC ns; NULL while the date was unknown
    span     INTEGER,                   -- ns; the instant lies in (time - span, time]
    boot     INTEGER NOT NULL REFERENCES boots (id),
    uptime   INTEGER NOT NULL,          -- CLOCK_BOOTTIME ns at arrival
    origin   INTEGER,                   -- source id << 16 | MQTT packet id
    crc      INTEGER NOT NULL,          -- CRC-32 of all the above and the body
    body     TEXT NOT NULL              -- of a reading: shape id and JSON array; else a JSON object
);
-- The kinds that outlive readings when space runs out; holds no reading, so costs nothing.
CREATE INDEX entries_rare ON entries (position) WHERE kind != 0;

-- What each sink still owes, as ranges, ends included; last NULL = everything to come.
CREATE TABLE pending (sink TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER);

-- Entries that a sink refused for good (sink '' = unreadable here: the CRC failed).
CREATE TABLE set_aside (
    sink     TEXT NOT NULL,
    position INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (sink, position)
);

-- Small durable facts, written in the same transaction as the entries they belong to.
CREATE TABLE state (key TEXT PRIMARY KEY, expires INTEGER, body TEXT NOT NULL);

-- Messages that no reading could be made of; the newest 1,000.
CREATE TABLE unreadable (
    id      INTEGER PRIMARY KEY,
    time    INTEGER,
    origin  TEXT NOT NULL,              -- source and topic
    reason  TEXT NOT NULL,
    payload BLOB NOT NULL               -- the first 4 KiB
);
