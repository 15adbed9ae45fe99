"""What a store says about each label of each image: there, not there, unknown, or one of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.stores.store import Card, Row

UNKNOWN = -1


@dataclass(frozen=True)
class Supervision:
    """Targets of N images for L labels and G groups."""

    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  #: (name, members)
    targets: NDArray[np.int8]  #: N × L: 1 there, 0 not there, −1 unknown
    any_of: NDArray[np.int8]  #: N × G: 1 at least one member is there, 0 none
    direct: tuple[bool, ...]  #: L: some image is known to have it

    @property
    def by_group(self) -> tuple[bool, ...]:
        """L: some group has it as a member."""
        members = {member for _, group in self.groups for member in group}
        return tuple(label in members for label in self.labels)

    def members(self, group: int) -> list[int]:
        """Positions of a group's members among the labels."""
        return [self.labels.index(member) for member in self.groups[group][1]]

    def of(self, positions: NDArray[np.int64]) -> Supervision:
        """The same for some of the images."""
        return Supervision(self.labels, self.groups, self.targets[positions], self.any_of[positions], self.direct)


def one_label_each(rows: Sequence[Row]) -> bool:
    """True if accuracy can be measured on these images; else average precision is."""
    return all(len(row.labels) == 1 and not row.any_of for row in rows)


def read(card: Card, rows: Sequence[Row], train: NDArray[np.int64]) -> Supervision:
    """Supervision of a multi-label store; `train` are the positions that a probe may learn from.

    A label that no train image has for certain, and that no group has as a member, is unknown everywhere:
    that nobody mentions it does not mean that it is not there. All other labels that an image does not
    mention are not there.
    """
    labels = card.labels
    told = {tuple(group) for row in rows for group in row.any_of}
    named = {tuple(group["members"]): group["name"] for group in card.groups}
    groups = tuple((named.get(group, " or ".join(group)), group) for group in sorted(told))
    certain = {label for i in train for label in rows[i].labels}
    of_groups = {member for group in told for member in group}
    supervised = [label in certain or label in of_groups for label in labels]

    targets = np.zeros((len(rows), len(labels)), np.int8)
    targets[:, ~np.asarray(supervised)] = UNKNOWN
    any_of = np.zeros((len(rows), len(groups)), np.int8)
    for i, row in enumerate(rows):
        for group in row.any_of:
            targets[i, [labels.index(member) for member in group]] = UNKNOWN
        targets[i, [labels.index(label) for label in row.labels]] = 1
        for g, (_, members) in enumerate(groups):
            any_of[i, g] = members in row.any_of or bool(set(members) & set(row.labels))
    return Supervision(labels, groups, targets, any_of, tuple(label in certain for label in labels))
