"""Posts the whole corpus to a real service and prints what came of it, class by class.

    python -m tests.corpus [--mutations 500] [--only CLASS]

With SHARED_DATA, its GeoTIFFs too. After each file a good patch is sent. Ends with 1 if anything was answered otherwise
than its case allows (which is never with 5xx) or in more than two seconds, if a good patch was not answered, if a
decode process had another memory limit than was set, or if one followed a file to the canary.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.conftest import SHARED_DATA, save_tiny_artifact, start_service
from tests.corpus.canary import Canary
from tests.corpus.cases import OK, collected, corpus
from tests.corpus.trial import GOOD, Memory, Outcome, attempt, watched
from training.progress import Progress

SLOWEST_S = 2.0


def row(kind: str, outcomes: list[Outcome], memory: Memory) -> str:
    """Of the table."""
    codes = Counter(outcome.code for outcome in outcomes)
    accepted = codes.pop(OK, 0)
    refused = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    slowest = max(outcome.seconds for outcome in outcomes) * 1000
    return f"| {kind} | {len(outcomes)} | {accepted} | {refused} | {slowest:.0f} | {memory.resident:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--only", help="classes whose name has this in it")
    asked = parser.parse_args()
    started, faults = time.perf_counter(), []
    address_space = limit = 0.0
    with tempfile.TemporaryDirectory() as name, Canary(Path(name) / "canary", GOOD) as canary:
        folder = Path(name)
        service = start_service(folder, save_tiny_artifact(folder / "artifact").path)
        try:
            service.wait_until_ready()
            print("| class of input | tried | accepted | refused | slowest, ms | decode process, MiB |")
            print("|---|---:|---:|---|---:|---:|", flush=True)
            cases = sorted([*corpus(canary, asked.mutations), *collected(SHARED_DATA)], key=lambda case: case.kind)
            cases = [case for case in cases if not asked.only or asked.only in case.kind]
            with httpx.Client(timeout=60) as client, Progress("corpus", len(cases), "files") as progress:
                for kind, same in itertools.groupby(cases, key=lambda case: case.kind):
                    outcomes = []
                    with watched(service) as memory:
                        for case in same:
                            outcomes.append(attempt(service, client, case, canary))
                            progress.advance(1)
                    print(row(kind, outcomes, memory), flush=True)
                    address_space, limit = max(address_space, memory.address_space), max(limit, *memory.limits)
                    faults += [f"{kind}: {o.case.name}: {fault}" for o in outcomes for fault in o.faults]
                    faults += [f"{kind}: {o.case.name}: {o.seconds:.1f} s" for o in outcomes if o.seconds > SLOWEST_S]
                    faults += [] if memory.has_the_limit else [f"{kind}: {memory} is not what was set"]
        finally:
            service.process.kill()
            service.process.wait()
    print(f"\n{len(cases)} files and as many good patches in {time.perf_counter() - started:.0f} s.")
    print(f"Most address space of a decode process: {address_space:.0f} MiB of {limit:.0f} MiB allowed.")
    print(f"Faults: {len(faults)}", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
