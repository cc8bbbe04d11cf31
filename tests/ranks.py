"""Runs a function on several gloo ranks of this machine."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
# torch and transformers are imported once; every rank is a fork of the process that did.
_CONTEXT.set_forkserver_preload(
    ["torch.distributed.fsdp", "transformers.models.mistral.modeling_mistral", "tests.ranks",
     "fullcontext.train.run"]
)  # fmt: skip


def together(size: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What `work(world, *given)` returned on each rank; an error of any rank is raised here."""
    answers = each(size, work, *given)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def each(size: int, work: Callable[..., Any], *given: Any, timeout_s: float = 60) -> list[Any]:
    """What `work(world, *given)` returned or raised on each rank; None if the rank was killed.

    `timeout_s` is that of `launch.world`.
    """
    port, ends, processes = free_port(), [], []
    for rank in range(size):
        here, there = _CONTEXT.Pipe(duplex=False)
        place = environment(rank, size, port)
        ranked = _CONTEXT.Process(target=_rank, args=(place, timeout_s, there, work, given))
        ranked.start()
        there.close()
        ends.append(here)
        processes.append(ranked)
    answers = _answers(ends, timeout_s)
    for process in processes:
        process.join(1)
        process.kill()
    return answers


def _answers(ends: list[Any], timeout_s: float) -> list[Any]:
    """The first may take long on a busy machine; the others come soon after it, or never."""
    answers: list[Any] = [None] * len(ends)
    left, patience = list(ends), timeout_s + 60
    while left and (ready := wait(left, patience)):
        patience = timeout_s + 5
        for end in ready:
            left.remove(end)
            with suppress(EOFError):
                answers[ends.index(end)] = end.recv()
    return answers


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set."""
    return {
        "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


def _rank(
    place: dict[str, str], timeout_s: float, answer: Any, work: Callable[..., Any], given: Any
) -> None:
    os.environ |= place
    from fullcontext import compose, launch

    compose.register()
    try:
        with launch.world(threads=1, timeout_s=timeout_s) as world:
            answer.send(work(world, *given))
    except Exception as error:
        answer.send(error)
