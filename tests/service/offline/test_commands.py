from __future__ import annotations

from service.commands.embed import OPTIONS
from service.options import Options


def test_a_command_line_has_the_options_of_a_request() -> None:
    assert list(OPTIONS) and set(OPTIONS) == set(Options.model_fields)
