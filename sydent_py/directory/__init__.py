"""Who is bound to what: peppered hashes in, Matrix user IDs out."""
