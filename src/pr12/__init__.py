"""Five papers of the PR12 series, reproduced."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is looking for the command: its imports are still to come
    from pr12.workflow import interrupts

    interrupts.answer()
