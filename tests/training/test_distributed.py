"""Who a process is and over what it talks; what processes say to each other is in dino/test_processes.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training import distributed
from training.distributed import Place, Workers, choose_backend


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place(0, 1, 0, 1)),
        ({"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, Place(5, 16, 1, 4)),
        (
            {"OMPI_COMM_WORLD_RANK": "9", "OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
             "OMPI_COMM_WORLD_LOCAL_SIZE": "8", "SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"},
            Place(9, 16, 1, 8),
        ),
        ({"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"}, Place(1, 2, 0, 1)),
        ({"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"}, Place(0, 1, 0, 1)),
    ],
)  # fmt: skip
def test_the_place_among_all_comes_from_the_launcher(environment: dict[str, str], place: Place) -> None:
    assert Place.read(environment) == place


def test_a_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="RANK=2 and WORLD_SIZE=2"):
        Place.read({"RANK": "2", "WORLD_SIZE": "2"})


def test_without_a_launchers_word_the_first_host_is_where_processes_meet() -> None:
    assert distributed.address({"SM_HOSTS": '["algo-1", "algo-2"]'})["MASTER_ADDR"] == "algo-1"
    assert distributed.address({})["MASTER_ADDR"] == "127.0.0.1"
    assert distributed.address({"MASTER_ADDR": "there", "MASTER_PORT": "1"}) == {
        "MASTER_ADDR": "there", "MASTER_PORT": "1",
    }  # fmt: skip


def test_auto_takes_nccl_with_cuda_and_gloo_without() -> None:
    assert choose_backend("auto", cuda=True, environment={}) == "nccl"
    assert choose_backend("auto", cuda=False, environment={}) == "gloo"


def test_auto_takes_smddp_where_sagemaker_was_asked_for_it_and_its_image_has_it(
    smddp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyperparameters = json.dumps({"sagemaker_distributed_dataparallel_enabled": True})
    asked = [{name: hyperparameters} for name in ("SM_HPS", "SM_FRAMEWORK_PARAMS")]
    assert [choose_backend("auto", cuda=True, environment=given) for given in asked] == ["nccl", "nccl"]
    monkeypatch.syspath_prepend(smddp)
    assert [choose_backend("auto", cuda=True, environment=given) for given in asked] == ["smddp", "smddp"]
    assert choose_backend("auto", cuda=True, environment={}) == "nccl"


def test_what_cannot_be_had_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"smddp: smdistributed\.dataparallel.* cannot be imported .* --backend nccl"):
        choose_backend("smddp", cuda=True)
    with pytest.raises(ValueError, match=r"nccl needs CUDA.*--backend gloo"):
        choose_backend("nccl", cuda=False)


def test_shares_cover_a_batch_once_and_differ_by_one_at_most() -> None:
    import torch

    for world in range(1, 6):
        shares = [Workers(Place(rank, world), torch.device("cpu")).share(13) for rank in range(world)]
        assert [i for share in shares for i in range(13)[share]] == list(range(13))
        sizes = [share.stop - share.start for share in shares]
        assert max(sizes) - min(sizes) <= 1
