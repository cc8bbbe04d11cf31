"""What torch's CPU allocator gave out, as its profiler recorded it: every byte, nothing else."""

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak(work: Callable[[], Any]) -> int:
    """The most bytes held at once by what `work` allocated."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as traced:
        work()
    found: list[tuple[int, int]] = []

    def walk(events: Any) -> None:
        for event in events:
            if event.tag.name == "Allocation":
                found.append((event.start_time_ns, event.extra_fields.alloc_size))
            walk(event.children)

    walk(traced.profiler.kineto_results.experimental_event_tree())
    held = most = 0
    for _, size in sorted(found, key=lambda event: event[0]):
        held += size
        most = max(most, held)
    return most
