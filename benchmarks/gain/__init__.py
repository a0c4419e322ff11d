"""Small models to compare, and their metric: what `mmpose-kd gain` was run on."""
