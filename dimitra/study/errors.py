"""What stops a command of the study."""

from __future__ import annotations


class StudyError(Exception):
    """Names the file or option, the value, the limit, and what to do."""
