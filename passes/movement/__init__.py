"""Rules and passes of data movement: shapes, slices, concatenations, transposes, reductions."""
