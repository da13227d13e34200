"""Equality saturation: rules applied in every order at once, and the cheapest result taken."""

from graphopt.saturation.regions import Region, regions_of
from graphopt.saturation.saturate import Limits, Saturated, Saturation, by_root, is_plain

__all__ = [
    "Limits",
    "Region",
    "Saturated",
    "Saturation",
    "by_root",
    "is_plain",
    "regions_of",
]
