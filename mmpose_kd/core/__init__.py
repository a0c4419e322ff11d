"""What every method shares."""
