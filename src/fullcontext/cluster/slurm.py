"""What SLURM knows of a job, asked with scontrol; sacct only where it works."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT", "GONE",
})  # fmt: skip
"""States a job does not leave by itself. GONE: it is not in the queue and nothing else is known."""
PENDING, RUNNING, GONE, UNREACHABLE = "PENDING", "RUNNING", "GONE", "UNREACHABLE"
ANSWER_S = 20


def answers() -> bool:
    """Whether there is a SLURM on this machine that takes jobs."""
    return shutil.which("sbatch") is not None and _ask("sinfo", "--noheader", limit_s=5)[0] == 0


def states(jobs: Iterable[str]) -> dict[str, str]:
    """The state of each job: `12`, or `12_3` for a task of an array.

    scontrol forgets a job some minutes after its end; sacct is asked for those. GONE if neither
    knows it, UNREACHABLE if the controller does not answer.
    """
    asked = list(jobs)
    found: dict[str, str] = {}
    for master in sorted({job.partition("_")[0] for job in asked}):
        code, said, error = _ask("scontrol", "--oneliner", "show", "job", master)
        found |= shown(said)
        if code and "Invalid job id" not in error:
            found |= {job: UNREACHABLE for job in asked if job.partition("_")[0] == master}
    lost = [job for job in asked if job not in found]
    if lost:
        _, said, _ = _ask(
            "sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State",
            f"--jobs={','.join(lost)}",
        )  # fmt: skip
        accounted = (line.partition("|") for line in said.splitlines())
        found |= {job: state.split()[0] for job, _, state in accounted if state.strip()}
    return {job: found.get(job, GONE) for job in asked}


def shown(text: str) -> dict[str, str]:
    """The states in what `scontrol --oneliner show job` printed.

    >>> shown("JobId=7 ArrayJobId=5 ArrayTaskId=0-1,4%2 JobState=PENDING Reason=Resources")
    {'5_0': 'PENDING', '5_1': 'PENDING', '5_4': 'PENDING'}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        if "JobId" not in fields or "JobState" not in fields:
            continue
        names = [fields["JobId"]]
        if "ArrayJobId" in fields and "ArrayTaskId" in fields:
            names = [f"{fields['ArrayJobId']}_{n}" for n in _numbers(fields["ArrayTaskId"])]
        found |= dict.fromkeys(names, fields["JobState"])
    return found


def _numbers(tasks: str) -> Iterator[int]:
    """The numbers in `0-2,5%3`: what follows % is how many may run at once."""
    for part in tasks.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            yield from range(int(first), int(last or first) + 1)


def _ask(*command: str, limit_s: float = ANSWER_S) -> tuple[int, str, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def process_states(jobs: Iterable[str]) -> dict[str, str]:
    """The same for jobs that are processes of this machine."""
    return {job: RUNNING if _is_alive(int(job)) else GONE for job in jobs}


def _is_alive(pid: int) -> bool:
    with suppress(ChildProcessError):  # one's own child stays until it was waited for
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
    command = _ask("ps", "-o", "command=", "-p", str(pid))[1]
    return "submitit" in command  # numbers are used again
