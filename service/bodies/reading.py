"""What reading a body needs to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.errors import ServiceError
from service.sources import Fetch


@dataclass(frozen=True)
class Reading:
    """Limits and means of one request."""

    bands: Sequence[str]  #: of the model
    max_instances: int
    fetch: Fetch  #: brings what the body names by URI
    is_busy: Callable[[], bool]  #: whether patches of anybody are under way

    def refuse_over(self, tiles: int) -> None:
        """Raises ServiceError too_many_instances if there are more `tiles` than one request may have."""
        if tiles > self.max_instances:
            raise ServiceError(
                "too_many_instances",
                f"The request has {tiles} tiles; send at most {self.max_instances} at a time.",
                limits={"max_instances": self.max_instances},
            )
