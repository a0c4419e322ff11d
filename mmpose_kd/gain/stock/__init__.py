"""Programs that use an exported student as stock MMPose does: without this package.

They are started by their file, in processes in which ``mmpose_kd`` cannot be imported; started
with ``python -m`` they would import it first. So they import nothing of it, and nothing of each
other: their folder stands first on the path of such a process.
"""

from pathlib import Path

EVALUATE = Path(__file__).with_name('evaluate_student.py')
COSTS = Path(__file__).with_name('student_costs.py')
