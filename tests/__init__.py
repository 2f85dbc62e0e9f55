"""The tests; each says in a sentence what would be broken if it failed."""
