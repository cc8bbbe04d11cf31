"""The run folder is the record; W&B and trackio mirror it and can never stop or hold a run."""

from fullcontext.track.tracker import METRICS, Tracker

__all__ = ["METRICS", "Tracker"]
