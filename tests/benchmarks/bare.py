"""An engine alone: what a machine computes while nothing is read, asked or answered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from service.model.engine import Engine, Engines


def at_work(engines: Engines, images: NDArray[np.uint8], seconds: float) -> tuple[float, float]:
    """Images a second of all that work at the same time, each on `images` again and again; and a second of CPU time."""
    began, cpu = time.perf_counter(), time.process_time()

    def work(engine: Engine) -> int:
        count = 0
        while time.perf_counter() < began + seconds:
            engine.run(images)
            count += len(images)
        return count

    with ThreadPoolExecutor(len(engines.each)) as threads:
        count = sum(threads.map(work, engines.each))
    return count / (time.perf_counter() - began), count / (time.process_time() - cpu)
