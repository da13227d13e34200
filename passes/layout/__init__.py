"""Layout: channels first or last, by a cost model."""
