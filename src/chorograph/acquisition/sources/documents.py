"""JSON documents of services and catalogues: fetched politely, or read from files; pages followed one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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


def answers(
    places: Sequence[str], rules: FetchRules, headers: Mapping[str, str] = _NONE
) -> list[tuple[dict[str, Any], str | None]]:
    """Return the document of each URL, or an empty one with the reason why there is none."""
    from chorograph.ground.fetching.fetcher import Wanted, fetch

    found = fetch([with_secrets(place) for place in places], rules, Wanted(headers=headers))
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


def pages(url: str, rules: FetchRules, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Go through the pages of an answer by their links `next`, on one host; `InputError` where one asks for POST."""
    for _ in range(MOST_DOCUMENTS):
        (page,) = documents([url], rules)
        yield page, url
        following = following_page(page, url)
        if following is None:
            return
        if not following:
            raise InputError(f"{where} goes on by POST, which is not asked here; ask for less")
        url = following


def following_page(page: Mapping[str, Any], url: str) -> str | None:
    """Return the next page's URL, None for none; empty where it cannot be asked: by POST, or on another host."""
    links = [link for link in page.get("links", ()) if isinstance(link, dict) and link.get("rel") == "next"]
    if not links:
        return None
    following = urljoin(url, str(links[0].get("href", "")))
    same = urlsplit(following).netloc == urlsplit(url).netloc
    return following if links[0].get("method", "GET") == "GET" and same else ""


def _parsed(data: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    return (document, None) if isinstance(document, dict) else ({}, "no JSON")
