"""What scontrol prints is read right, and a job nobody knows is gone."""

import os
import subprocess
import sys

from fullcontext.cluster import slurm


def test_waiting_tasks_of_an_array_are_printed_together_and_read_apart() -> None:
    said = (
        "JobId=9 ArrayJobId=7 ArrayTaskId=1,3-4%2 JobState=PENDING Reason=JobArrayTaskLimit\n"
        "JobId=8 ArrayJobId=7 ArrayTaskId=0 JobState=RUNNING Reason=None\n"
        "JobId=12 JobState=TIMEOUT Reason=TimeLimit\n"
    )
    assert slurm.shown(said) == {
        "7_1": "PENDING", "7_3": "PENDING", "7_4": "PENDING", "7_0": "RUNNING", "12": "TIMEOUT",
    }  # fmt: skip


def test_a_process_that_is_no_job_of_submitit_is_gone_as_is_one_that_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    found = slurm.process_states([str(os.getpid()), str(ended.pid)])
    assert found == {str(os.getpid()): slurm.GONE, str(ended.pid): slurm.GONE}
