"""Cells: trainings that were named before they were run. See README.md."""
