"""Errors of a stage that a person can mend; their message says what is wrong and what to do."""

from __future__ import annotations


class StageError(RuntimeError):
    """A stage cannot go on."""


class JobError(StageError):
    """A shard job cannot go on; what was finished is kept."""


class BudgetError(StageError):
    """More clips were quarantined than the stage's budget allows."""


class BalanceError(StageError):
    """Clips were lost or invented: clips in differ from clips out plus quarantined."""


class ShardError(StageError):
    """An input shard lacks a clip that was in it when the work was planned."""
