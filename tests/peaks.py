"""The memory that something takes, as PyTorch's allocator on the CPU tells its profiler."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_memory(action: Callable[[], object]) -> int:
    """The most bytes of tensors that were there at once while it ran, beside those from before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        action()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    there = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        there += event.nbytes()
        most = max(most, there)
    return most
