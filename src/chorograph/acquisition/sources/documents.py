"""JSON documents of services and catalogues: fetched politely, or read from files; pages followed one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from chorograph.acquisition.sources.secrets import with_secrets
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json

if TYPE_CHECKING:
    from chorograph.ground.fetching.fetcher import FetchRules

#: A search of more pages, or a catalogue of more documents, is none that one city needs.
MOST_DOCUMENTS = 100_000
_NONE: Mapping[str, str] = {}


def is_url(address: str) -> bool:
    """Whether an address is one of the web."""
    return address.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Asked:
    """A page of a search: its URL, and what is sent to it by POST; None for GET."""

    url: str
    body: Mapping[str, Any] | None = None


def answers(
    places: Sequence[str],
    rules: FetchRules,
    headers: Mapping[str, str] = _NONE,
    body: Mapping[str, Any] | None = None,
) -> list[tuple[dict[str, Any], str | None]]:
    """Return the document of each URL (by POST with a `body`), or an empty one with the reason why there is none."""
    from chorograph.ground.fetching.fetcher import Wanted, fetch

    sent = None
    if body is not None:
        sent, headers = json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}
    found = fetch([with_secrets(place) for place in places], rules, Wanted(headers=headers, body=sent))
    return [({}, one.reason) if one.reason else _parsed(one.data) for one in found]


def documents(places: Sequence[str], rules: FetchRules) -> list[dict[str, Any]]:
    """Return JSON documents, of the web or of files; `InputError` naming the first that cannot be had."""
    web = [place for place in dict.fromkeys(places) if is_url(place)]
    fetched = dict(zip(web, answers(web, rules), strict=True))
    found = []
    for place in places:
        if place not in fetched:
            found.append(read_json(Path(place), {str: object}))
            continue
        document, reason = fetched[place]
        if reason is not None:
            raise InputError(f"{place} could not be had: {reason}")
        found.append(document)
    return found


def pages(asked: Asked, rules: FetchRules, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Go through the pages of an answer by their links `next`; `InputError` where one leads to another host."""
    for _ in range(MOST_DOCUMENTS):
        ((page, reason),) = answers([asked.url], rules, body=asked.body)
        if reason is not None:
            raise InputError(f"{asked.url} could not be had: {reason}")
        yield page, asked.url
        following = following_page(page, asked)
        if following is None:
            return
        if urlsplit(following.url).netloc != urlsplit(asked.url).netloc:
            raise InputError(f"{where} goes on at another host, which is not asked; ask for less")
        asked = following


def following_page(page: Mapping[str, Any], asked: Asked) -> Asked | None:
    """Return what is asked for the next page, None for none.

    A link may want POST; with `merge` what it says is added to what was sent (STAC API 1.0, paging).
    """
    links = [link for link in page.get("links", ()) if isinstance(link, dict) and link.get("rel") == "next"]
    if not links:
        return None
    url = urljoin(asked.url, str(links[0].get("href", "")))
    if str(links[0].get("method", "GET")).upper() != "POST":
        return Asked(url)
    said = links[0].get("body")
    before = (asked.body or {}) if links[0].get("merge") else {}
    return Asked(url, {**before, **(said if isinstance(said, dict) else {})})


def _parsed(data: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    return (document, None) if isinstance(document, dict) else ({}, "no JSON")
