"""Check a set-up, and say what to do."""
