from __future__ import annotations

import json

from service.app import _problem
from service.errors import ServiceError


def test_an_error_that_no_answer_can_hold_is_answered_as_a_problem_of_ours() -> None:
    answer, code = _problem(ServiceError("corrupt", "The file calls its bands \ud800."))
    assert (answer.status_code, code) == (500, "internal")
    assert json.loads(bytes(answer.body))["code"] == "internal"
