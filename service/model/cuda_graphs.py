"""A function of a batch, recorded for a few sizes, so that a GPU repeats it without a launch for each kernel.

In small batches launches take longer than kernels. torch.compile would fuse kernels, too, but wants a C compiler where
it runs, and a minute at each start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]  #: row i for image i
Function = Callable[[Tensor], Outputs]
Replay = Callable[[], Outputs]  #: from the images that were recorded, to the same outputs again: fixed places in memory
Record = Callable[[Function, Tensor], Replay]

_one_at_a_time = threading.Lock()  # torch records one graph at a time in a process


class Recorded:
    """A function of a batch, recorded for 1, 2, 4 … images, up to the length of `room`; called with any number."""

    def __init__(self, function: Function, room: Tensor, record: Record) -> None:
        """`room` is a batch on the device; recordings take their images from its first rows."""
        self._room = room
        sizes = {padded(count, len(room)) for count in range(1, len(room) + 1)}
        # The largest first: the others then compute in its memory.
        self._replays = {size: record(function, room[:size]) for size in sorted(sizes, reverse=True)}

    def __call__(self, images: Tensor) -> Outputs:
        """`images` are in the machine's own memory, the outputs on the device.

        More than there is room for go in pieces, of which one is copied while the device computes the one before.
        """
        pieces = [self._piece(piece) for piece in images.split(len(self._room))]
        return tuple(map(torch.cat, zip(*pieces, strict=True)))

    def _piece(self, images: Tensor) -> Outputs:
        count = len(images)
        # From pinned memory, which torch keeps for the next batch, the device copies by itself.
        self._room[:count].copy_(images.pin_memory() if self._room.is_cuda else images, non_blocking=True)
        outputs = self._replays[padded(count, len(self._room))]()
        return tuple(output[:count].clone() for output in outputs)  # before the next piece writes over them


def padded(count: int, largest: int) -> int:
    """Of how many images the recording is that takes `count`: the next power of two, but at most `largest`."""
    return min(1 << (count - 1).bit_length(), largest)


class CudaGraphs:
    """Records on one GPU. What is recorded shares its memory, so only one recording is replayed at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._memory = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, images: Tensor) -> Replay:
        """See `Record`."""
        graph = torch.cuda.CUDAGraph()
        with _one_at_a_time, torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                function(images)  # libraries load and allocate at a first call, which no recording may hold
            # thread_local: other threads may meanwhile allocate, for another GPU
            with torch.cuda.graph(graph, self._memory, self._stream, capture_error_mode="thread_local"):
                outputs = function(images)

        def replay() -> Outputs:
            graph.replay()
            return outputs

        return replay
