"""Rules of numbers: sums, products, comparisons, powers, functions, booleans."""
