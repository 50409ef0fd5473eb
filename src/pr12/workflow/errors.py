"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; a step answers it with exit code 2."""
