"""Targets of the compiler. `reference` defines what a graph means; all others are held to it."""
