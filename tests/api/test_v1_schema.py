"""What the OpenAPI document promises, against a running hub: no call fails, and every answer has a promised shape."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.native import Actor, array_of
from tests.fixtures.live_hub import LiveHub

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_EXAMPLES = 40
# What a generated call would hardly ever name.
_EXISTING = {"namespace": "alice", "name": "array", "number": 1}


async def _push_array(url: str, token: str) -> str:
    """The id of a push that stays open, beside an array."""
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        alice = Actor(client)
        await alice.push("alice/array", array_of(1, 2, 3))
        return await alice.open("alice/array")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_answers_are_what_the_schema_says(module_hub: LiveHub) -> None:
    token = module_hub.add_user("alice")
    existing = {**_EXISTING, "push_id": asyncio.run(_push_array(module_hub.url, token))}
    schema = schemathesis.openapi.from_url(f"{module_hub.url}/api/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    cases = st.one_of([operation.as_strategy() for operation in operations])
    seen: set[int] = set()

    @settings(max_examples=_EXAMPLES * len(operations), deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, is_anonymous=st.booleans(), is_existing=st.booleans())
    def call(case: schemathesis.Case, is_anonymous: bool, is_existing: bool) -> None:
        if is_existing and case.method == "GET":
            case.path_parameters.update({name: existing[name] for name in case.path_parameters.keys() & existing})
        headers = {} if is_anonymous else {"Authorization": f"Bearer {token}"}
        response = case.call(headers=headers, allow_redirects=False)
        seen.add(response.status_code)
        case.validate_response(response, checks=_CHECKS)

    call()
    assert seen >= {200, 400, 401, 404}
