"""Events that a platform gave up, read and replayed."""
