"""A store on PostgreSQL: a collection that many machines read and write at once.

``pool.Database`` runs transactions, ``address.Address`` is a location taken apart.
"""
