"""Tables, indexes and triggers of listings (``listing_rows``)."""

from __future__ import annotations

# What images are listed by, derived from their records. Rows that are missing or outdated are
# due: they are written before the next listing. No value is NULL; saying so would not fit into the first page.
LISTING: tuple[str, ...] = (
    """
    CREATE TABLE listing (
        image INTEGER PRIMARY KEY REFERENCES images (key) ON DELETE CASCADE,
        id TEXT,
        taken TEXT,
        day TEXT,
        name TEXT,
        size INTEGER,
        added REAL,
        folder TEXT,
        format TEXT,
        camera TEXT,
        place TEXT,
        rating INTEGER
    ) STRICT
    """,
    "CREATE INDEX by_id ON listing (id)",
    # With the columns of filters, so that filtered listings by date read the index only.
    "CREATE INDEX by_day ON listing (day, taken, id, camera, place, format, rating, folder)",
    *(f"CREATE INDEX by_{name} ON listing ({name}, id)" for name in ("name", "size", "added", "folder")),
    "CREATE INDEX by_camera ON listing (camera, place, format, rating)",
    """
    CREATE TABLE tags (
        tag TEXT NOT NULL,
        image INTEGER NOT NULL REFERENCES images (key) ON DELETE CASCADE,
        PRIMARY KEY (tag, image)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX tags_by_image ON tags (image)",
    "CREATE TABLE listing_due (image INTEGER PRIMARY KEY REFERENCES images (key) ON DELETE CASCADE) STRICT",
    """
    CREATE TRIGGER listing_added AFTER INSERT ON images BEGIN
        INSERT INTO listing_due VALUES (NEW.key);
    END
    """,
    """
    CREATE TRIGGER listing_changed AFTER UPDATE OF stamp, metadata ON images BEGIN
        INSERT OR IGNORE INTO listing_due VALUES (NEW.key);
    END
    """,
    """
    CREATE TRIGGER file_read AFTER INSERT ON file_metadata BEGIN
        INSERT OR IGNORE INTO listing_due VALUES (NEW.image);
        UPDATE totals SET
        stacked=stacked+EXISTS(SELECT 1 FROM file_metadata WHERE stack=NEW.stack AND image<>NEW.image);
    END
    """,
    """
    CREATE TRIGGER file_lost AFTER DELETE ON file_metadata BEGIN
        INSERT OR IGNORE INTO listing_due SELECT key FROM images WHERE key=OLD.image;
    END
    """,
)
"""Statements that create the tables, indexes and triggers of listings, which are new in format 5."""
