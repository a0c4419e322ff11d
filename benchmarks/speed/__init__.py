"""Speed and memory of training with OKDHP and of the exported student, as ratios."""
