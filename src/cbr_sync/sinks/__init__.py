"""Where outcomes and reports are sent."""
