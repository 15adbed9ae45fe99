"""Which names a map shows, in which colours."""

from __future__ import annotations

from service.formats import colours
from service.model import artifact
from service.model.manifest import Group, Label

TOLD = ("direct",)


def test_labels_of_corine_have_its_colours_whatever_their_order() -> None:
    names = list(reversed(colours.OFFICIAL))
    legend = colours.legend([Label(name=name, supervision=TOLD) for name in names], [])
    assert list(legend.items()) == list(reversed(colours.OFFICIAL.items()))
    assert legend["Urban fabric"] == "#e6004d"
    assert colours.components(legend["Urban fabric"]) == (230, 0, 77)


def test_labels_of_ones_own_have_colours_that_no_other_has_and_the_same_ones_each_time() -> None:
    labels = [Label(name=f"crop {i}", supervision=TOLD) for i in range(400)]
    labels += [Label(name=name, supervision=TOLD) for name in colours.OFFICIAL]
    legend = colours.legend(labels, [])
    assert len(set(legend.values())) == len(labels)
    assert {name: legend[name] for name in colours.OFFICIAL} == colours.OFFICIAL
    assert colours.legend(labels, []) == legend
    assert all(len(colours.components(colour)) == 3 for colour in legend.values())


def test_a_group_stands_for_members_that_cannot_be_told_in_their_mean_colour() -> None:
    manifest = artifact.load(artifact.STARTER).manifest
    legend = colours.legend(manifest.labels, manifest.groups)
    assert list(legend)[-2:] == ["Forest (any)", "Water (any)"]
    assert legend["Forest (any)"] == "#44e100"


def test_a_group_that_would_hide_its_members_is_not_shown() -> None:
    labels = [Label(name=name, supervision=TOLD) for name in "ab"]
    assert list(colours.legend(labels, [Group(name="any", members=("a", "b"))])) == ["a", "b"]


def test_groups_of_the_same_members_differ_in_colour() -> None:
    labels = [Label(name=name) for name in "ab"]
    groups = [Group(name=name, members=("a", "b")) for name in ("one", "other")]
    assert len(set(colours.legend(labels, groups).values())) == 4
