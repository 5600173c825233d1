"""Schemathesis asks every operation for what its description does not say: no 5xx, no undocumented answer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access
from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.ratings.store import RatingStore

TOKEN = "a-token-for-schemathesis"  # noqa: S105
#: Requests an operation; set CHOROGRAPH_EXAMPLES to ask for more.
EXAMPLES = int(os.environ.get("CHOROGRAPH_EXAMPLES", "6"))


@pytest.fixture(scope="module")
def address(city: Path, run_app: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, as ratings are written."""
    store = RatingStore(f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'ratings.sqlite'}")
    catalogue = Catalogue.open([city], cache=False)
    with run_app(create_app(Serving(catalogue, Access(TOKEN), stores={"city": store}, warm=False))) as address:
        yield address


def test_every_operation_answers_as_it_is_described(address: str) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis import checks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_url(f"{address}/api")
        operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 25
    headers = {"Authorization": f"Bearer {TOKEN}"}
    judged = [
        checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
        checks.response_schema_conformance, checks.response_headers_conformance,
    ]  # fmt: skip
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any) -> None:
            case.call_and_validate(base_url=address, headers=headers, timeout=60, checks=judged)

        ask()
    assert httpx.get(f"{address}/health").json()["status"] == "ok"


def test_every_page_has_its_json_at_the_same_address(address: str) -> None:
    pages = {"/": "/index.json", "/areas/city": "/areas/city.json", "/areas/city/rate": "/areas/city/rate.json"}
    pages["/areas/city/regions/R01"] = "/areas/city/regions/R01.json"
    pages["/areas/city/regions/R06?fragment=true"] = "/areas/city/regions/R06.json"
    for page, data in pages.items():
        shown = httpx.get(f"{address}{page}", headers={"Accept": "text/html"}, follow_redirects=True)
        assert shown.headers["content-type"].startswith("text/html")
        assert httpx.get(f"{address}{data}").json()
    described = httpx.get(f"{address}/api").json()["paths"]
    html = [
        path for path in described if path.startswith("/areas/{area}") and "{" not in path.removeprefix("/areas/{area}")
    ]
    assert {"/areas/{area}.json", "/areas/{area}/rate.json"} <= set(html)
