"""Tables, indexes and triggers of listings (``listing_rows``)."""

from __future__ import annotations

_SORTED = ("taken", "name", "size", "added", "folder")

# What images are listed by (listing_rows.py), derived from their records. Rows that are missing or outdated are
# due: they are written before the next listing. Triggers note them, also for programs of version 1.
LISTING = (
    """
    CREATE TABLE listing (
        collection integer NOT NULL,
        image bigint NOT NULL,
        id bytea NOT NULL,
        taken bytea NOT NULL,
        day bytea NOT NULL,
        name bytea NOT NULL,
        size bigint NOT NULL,
        added double precision NOT NULL,
        folder bytea NOT NULL,
        format bytea NOT NULL,
        camera bytea NOT NULL,
        place bytea NOT NULL,
        rating integer NOT NULL,
        keywords bytea[] NOT NULL,
        PRIMARY KEY (collection, image)
    )
    """,
    "CREATE INDEX listing_by_id ON listing (collection, id)",
    *(f"CREATE INDEX listing_by_{name} ON listing (collection, {name}, id)" for name in _SORTED),
    *(
        f"CREATE INDEX listing_by_{name} ON listing (collection, {name})"
        for name in ("day", "format", "camera", "place", "rating")
    ),
    "CREATE INDEX listing_by_keywords ON listing USING gin (keywords)",
    """
    CREATE TABLE listing_due (
        collection integer NOT NULL,
        image bigint NOT NULL,
        PRIMARY KEY (collection, image)
    )
    """,
    "INSERT INTO listing_due SELECT collection, key FROM images",
    """
    CREATE FUNCTION listing_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO imagefinder.listing_due SELECT collection, key FROM added;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION listing_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO imagefinder.listing_due VALUES (NEW.collection, NEW.key) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION listing_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        DELETE FROM imagefinder.listing USING lost
            WHERE listing.collection = lost.collection AND listing.image = lost.key;
        DELETE FROM imagefinder.listing_due USING lost
            WHERE listing_due.collection = lost.collection AND listing_due.image = lost.key;
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER listing_added AFTER INSERT ON images REFERENCING NEW TABLE AS added"
    " FOR EACH STATEMENT EXECUTE FUNCTION listing_added()",
    "CREATE TRIGGER listing_changed AFTER UPDATE OF stamp, metadata, properties ON images"
    " FOR EACH ROW EXECUTE FUNCTION listing_changed()",
    "CREATE TRIGGER listing_removed AFTER DELETE ON images REFERENCING OLD TABLE AS lost"
    " FOR EACH STATEMENT EXECUTE FUNCTION listing_removed()",
)
