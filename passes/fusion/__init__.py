"""Fusion: idioms, contractions with what follows them, chains."""
