"""Small models and runs that tests share."""

from pathlib import Path

#: the checkout; scripts of other processes put it first on their path and import tests.helpers
ROOT = Path(__file__).parents[2]
