"""Breaks lines of the package and looks whether a test notices; see docs/mutants.md."""
