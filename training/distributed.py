"""Processes that train as one: which of them this is, over what they talk, and what they say to each other."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

BACKENDS = ("auto", "nccl", "gloo", "smddp")
SMDDP = "smdistributed.dataparallel.torch.torch_smddp"  # importing it makes the backend known to torch
PORT = "29500"  # torchrun's, where nobody says another
TIMEOUT = timedelta(minutes=30)  # the others wait while the first looks at nearest neighbours or saves


@dataclass(frozen=True)
class Place:
    """One process among all."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0  #: on its host
    local_world: int = 1

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """As torchrun says; else OpenMPI (mpirun, SageMaker's MPI launcher); else SageMaker's hosts, one process each.

        Raises ValueError for a place that cannot be.
        """
        if "RANK" in environment and "WORLD_SIZE" in environment:
            names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        elif "OMPI_COMM_WORLD_RANK" in environment:
            ompi = "OMPI_COMM_WORLD_"
            names = (f"{ompi}RANK", f"{ompi}SIZE", f"{ompi}LOCAL_RANK", f"{ompi}LOCAL_SIZE")
        else:
            hosts = json.loads(environment.get("SM_HOSTS", "[]"))
            return cls(hosts.index(environment["SM_CURRENT_HOST"]), len(hosts)) if len(hosts) > 1 else cls()
        rank, world, local_rank, local_world = (
            int(environment.get(name, default)) for name, default in zip(names, ("0", "1", "0", "1"), strict=True)
        )
        if not 0 <= rank < world:
            raise ValueError(f"{names[0]}={rank} and {names[1]}={world}: a rank is below the number of processes")
        return cls(rank, world, local_rank, local_world)


def address(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT where the launcher does not set them: SageMaker's first host, or this one."""
    first = json.loads(environment.get("SM_HOSTS", "[]"))[:1]
    said = {"MASTER_ADDR": first[0] if first else "127.0.0.1", "MASTER_PORT": PORT}
    return {name: environment.get(name, value) for name, value in said.items()}


def choose_backend(asked: str, cuda: bool, environment: Mapping[str, str] = os.environ) -> str:
    """auto: smddp where SageMaker was asked for it and its image has it, else nccl with CUDA, else gloo.

    Raises ValueError for smddp where it is missing, and for nccl without CUDA.
    """
    if asked == "smddp" and not _has_smddp():
        raise ValueError(
            f"--backend smddp: {SMDDP} cannot be imported here; it comes with SageMaker's training images up to "
            "torch 2.4.1 and runs on p4d and p4de alone. Use --backend nccl (or auto)"
        )
    if asked == "nccl" and not cuda:
        raise ValueError("--backend nccl needs CUDA, and torch sees no device; use --backend gloo (or auto)")
    if asked != "auto":
        return asked
    if _smddp_was_asked_for(environment) and _has_smddp():
        return "smddp"
    return "nccl" if cuda else "gloo"


def _has_smddp() -> bool:
    """Imports it, as it is there that it looks at the machine."""
    try:
        importlib.import_module(SMDDP)
    except Exception:  # it refuses a machine that is none of its own with errors of many kinds
        return False
    return True


def _smddp_was_asked_for(environment: Mapping[str, str]) -> bool:
    """SageMaker's launcher says so among the hyperparameters, or in what it took out of them."""
    name = "sagemaker_distributed_dataparallel_enabled"
    said = [json.loads(environment.get(place, "{}")).get(name) for place in ("SM_HPS", "SM_FRAMEWORK_PARAMS")]
    return any(value in (True, "true", "True") for value in said)


class Workers:
    """All processes of a training, seen from one of them. Alone, every word is its own answer."""

    def __init__(self, place: Place, device: torch.device) -> None:
        self.place, self.device = place, device

    @property
    def is_first(self) -> bool:
        """The one that writes files and speaks."""
        return self.place.rank == 0

    @property
    def are_many(self) -> bool:
        """False for a process on its own."""
        return self.place.world > 1

    def share(self, count: int) -> slice:
        """This process's part of `count` things; parts differ by one at most."""
        rank, world = self.place.rank, self.place.world
        return slice(count * rank // world, count * (rank + 1) // world)

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes added up, in place."""
        if self.are_many:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """True for all if it is true for one. Waits for all, and for the device."""
        return flag if not self.are_many else self.sum(torch.tensor(float(flag), device=self.device)).item() > 0

    def wait(self) -> None:
        """Until all have come here."""
        self.sum(torch.zeros(1, device=self.device)).item()

    def from_first(self, make: Callable[[], bytes]) -> bytes:
        """What the first process makes, for all. If it cannot, all raise: OSError if it did, else ValueError."""
        if not self.are_many:
            return make()
        kind, made = 0, b""
        if self.is_first:
            try:
                made = make()
            except Exception as error:  # what ends the first must end all
                kind, made = (1 if isinstance(error, OSError) else 2), str(error).encode()
        head = self.sum(torch.tensor([kind, len(made)], dtype=torch.int64, device=self.device))
        kind, size = (int(value) for value in head.tolist())
        body = torch.frombuffer(bytearray(made), dtype=torch.uint8) if made else torch.empty(size, dtype=torch.uint8)
        body = body.to(self.device)
        if size:
            dist.broadcast(body, 0)
        made = body.cpu().numpy().tobytes()
        if kind:
            raise (OSError if kind == 1 else ValueError)(made.decode())
        return made

    def averaging(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all processes as they are computed."""
        if not self.are_many:
            return network
        ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, gradient_as_bucket_view=True)


ALONE = Workers(Place(), torch.device("cpu"))


def fresh(store: Store, place: Place) -> Store:
    """A part of torchrun's store that nobody wrote to before.

    torchrun keeps its store when it starts workers again, with the addresses of those that are dead; who reads
    them waits for nobody. So each process says hello under a name of its own making, and the first tells those
    whom it hears under which prefix they meet, until all have answered there.
    """
    prefix, others = uuid4().hex, range(1, place.world)
    if place.rank > 0:
        name = prefix
        store.set(f"hello/{place.rank}", name)
        store.wait([f"meet/{name}"], TIMEOUT)
        prefix = store.get(f"meet/{name}").decode()
        store.set(f"{prefix}/{place.rank}", "here")
        return PrefixStore(prefix, store)
    end = time.monotonic() + TIMEOUT.total_seconds()
    while not store.check([f"{prefix}/{rank}" for rank in others]):
        if time.monotonic() > end:
            raise TimeoutError(f"not all of {place.world} processes came within {TIMEOUT}")
        for rank in others:
            if store.check([f"hello/{rank}"]):
                store.set(f"meet/{store.get(f'hello/{rank}').decode()}", prefix)
        time.sleep(0.02)
    return PrefixStore(prefix, store)


@contextmanager
def started(backend: str, place: Place | None = None) -> Iterator[Workers]:
    """Within, this process is connected to the others. Each takes the device of its local rank.

    Raises ValueError for a backend that cannot be had, and for more processes than devices on a host.
    """
    place, cuda = place or Place.read(), torch.cuda.is_available()
    chosen = choose_backend(backend, cuda)
    device = torch.device("cuda", place.local_rank) if cuda else torch.device("cpu")
    if cuda:
        if place.local_rank >= torch.cuda.device_count():
            raise ValueError(f"{place.local_world} processes on a host with {torch.cuda.device_count()} devices")
        torch.cuda.set_device(device)
    if place.world == 1:
        yield Workers(place, device)
        return
    os.environ.update(address(os.environ))
    where: dict[str, Any] = {"rank": place.rank, "world_size": place.world, "timeout": TIMEOUT}
    if "TORCHELASTIC_RUN_ID" in os.environ:
        store, _, _ = next(rendezvous("env://", place.rank, place.world, timeout=TIMEOUT))
        where["store"] = fresh(store, place)
    dist.init_process_group(chosen, **where)
    if place.rank == 0:
        print(f"{place.world} processes over {chosen} on {device.type}", file=sys.stderr, flush=True)
    try:
        yield Workers(place, device)
    finally:
        dist.destroy_process_group()
