"""A store on PostgreSQL: a collection that many machines read and write at once.

``store.DistributedStore`` is the store of one collection, ``pool.Database`` runs transactions, and
``address.Address`` is a location with its parts. ``schema`` creates the tables; other parts add theirs with
``schema.Tables``. Rows of features and thumbnails contain their bytes in the column ``data`` or ``jpeg``, or the
name of an object in the column ``object`` (``payloads``).
"""
