"""Does distillation help? Trains plain and distilled models alike and compares the students."""
