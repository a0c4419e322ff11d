"""Does distillation help? ``mmpose-kd gain`` trains plain and distilled models alike.

:mod:`.command` does what the command line asks for: :mod:`.configs` reads and compares configs,
:mod:`.plan` says which runs are wanted, :mod:`.workers` does them side by side, and
:mod:`.report` compares the students. Nothing here is imported in a training of the user's.
"""
