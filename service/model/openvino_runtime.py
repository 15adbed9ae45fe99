"""OpenVINO as the engine uses it: without its converters, whose import reports to Intel over the network.

`import openvino` imports its converters if it can; their import sends an event to Google Analytics, unless a file in
the home directory says otherwise (openvino/tools/ovc/__init__.py, 2026.4), and takes a third of the time.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

loaded: Any = sys.modules
loaded.setdefault("openvino.tools.ovc", None)  # None: not to be imported

openvino: Any = importlib.import_module("openvino")
ops: Any = importlib.import_module("openvino.opset13")
