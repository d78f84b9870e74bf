"""A store on servers that many machines share: PostgreSQL, and optionally an object store for features."""
