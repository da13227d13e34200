"""Settings of all tests: how many examples hypothesis draws, and whether twice the same."""

import os

from hypothesis import settings

# A test run is repeatable: the same examples each time, and no failure for a slow machine.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("GRAPHOPT_FULL") == "1" else "default")
