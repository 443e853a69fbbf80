"""How each vault stands."""
