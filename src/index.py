"""FunctionGraph's default file; it may be loaded by its path, so it imports absolutely."""

from cbr_sync.functiongraph import handler, initializer

__all__ = ["handler", "initializer"]
