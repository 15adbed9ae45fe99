"""What a decode process may still do once it has read every kind of file: compute, and answer.

Limits: getrlimit(2). They bind whatever runs in the process, GDAL and its codecs above all; where the hard limit is
lowered too and the service does not run as root, nothing in the process can loosen them.
"""

from __future__ import annotations

import math
import resource

CPU_MARGIN_S = 1.0  # beyond the deadline, at which the parent kills the process anyway


def limit_memory(size: int) -> None:
    """Address space, in bytes: a bomb gets MemoryError, not the memory of the service."""
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def close() -> None:
    """Takes from this process what no tile needs; it must have loaded before whatever a tile can use.

    Even a genuine GeoTIFF can name other files or addresses for GDAL to look at; without descriptors none opens.
    """
    for limit in (
        resource.RLIMIT_NOFILE,  # no file, no socket, no pipe: what is open already stays open
        resource.RLIMIT_FSIZE,  # nor does a file grow through what is open
        resource.RLIMIT_CORE,  # a crash writes nobody's image to disk
    ):
        resource.setrlimit(limit, (0, 0))


def allow_cpu(seconds: float) -> None:
    """Ends this process (SIGXCPU) once it has computed for `seconds` from now, and a margin.

    For a parent that cannot: it may hang or be gone. The limit counts over a process's life, hence from what is
    used so far, and the kernel looks at whole seconds. The hard limit stays, so that the next tile can move it.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = math.ceil(used.ru_utime + used.ru_stime + seconds + CPU_MARGIN_S)
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
