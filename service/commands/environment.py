"""Settings, which all commands take from the environment."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from service.settings import Settings


def settings() -> Settings:
    """Ends the program with 2, and says which, if one is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        for wrong in error.errors():
            if wrong["type"] == "default_factory_not_called":  # a setting that was not given, for want of this one
                continue
            name = "".join(map(str, wrong["loc"])).upper()
            print(f"setting {name}: {wrong['msg']}" if name else wrong["msg"], file=sys.stderr)
        raise SystemExit(2) from None
