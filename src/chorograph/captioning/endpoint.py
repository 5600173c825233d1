"""Captions by an endpoint that speaks OpenAI's protocol: vLLM, Ollama, or anybody's.

The client's own retries are off: here every attempt is counted, by how it ended, before a budget that failed and
truncated answers are charged to as well.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.area.images import read_encoded, read_rgb
from chorograph.captioning.prompts import Prompt
from chorograph.captioning.request import Answer, Record, Request
from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.errors import ImageError, InputError, MissingExtraError, SettingError
from chorograph.ground.image_formats import format_of

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Longer texts are no captions.
MAX_CHARACTERS = 4_000
#: The longest that is waited before another attempt, whatever a server asks for.
MAX_WAIT_S = 120.0
#: Formats that endpoints take; others are sent as PNG.
_TAKEN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "caption",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"sentences": {"type": "array", "items": {"type": "string"}}},
            "required": ["sentences"],
            "additionalProperties": False,
        },
    },
}


class Trouble(Exception):  # noqa: N818  # it is no error of the user's
    """How an attempt failed. `again`: another may do better. `tokens`: what it cost, where the server said so.

    `reached`: the server began to work, so that it may have cost tokens that nobody told.
    """

    def __init__(
        self, kind: str, again: bool, tokens: int | None = None, *, reached: bool = True, wait_s: float | None = None
    ) -> None:
        super().__init__(kind)
        self.kind, self.again, self.tokens, self.reached, self.wait_s = kind, again, tokens, reached, wait_s


class BudgetSpentError(Exception):
    """No further request fits into the budget."""


class Budget:
    """Counts requests and tokens, those of earlier runs too, and holds back what is under way.

    An attempt reserves its most tokens: `most` for the answer, and the largest prompt that was seen. Before one was
    seen, one request goes alone and measures it.
    """

    def __init__(self, record: Record, requests: int | None, tokens: int | None, most: int) -> None:
        self._record, self._requests, self._cap, self._most = record, requests, tokens, most
        self._prompt: int | None = None
        self._flying = 0
        self._changed = asyncio.Condition()
        self._left_open = record.spent(1)[1] - record.spent(0)[1]  # attempts that a killed run never saw end

    @property
    def reserve(self) -> int:
        """The most tokens that an attempt is held to cost."""
        return self._most + (self._prompt or 0)

    async def take(self, request: Request) -> None:
        """Wait until a request fits, and charge it; `BudgetSpentError` where it never will."""
        async with self._changed:
            while not self._fits():
                if not self._flying:
                    raise BudgetSpentError
                await self._changed.wait()
            self._flying += 1
            self._record.sent(request)

    async def end(self, request: Request, kind: str, tokens: int, prompt: int = 0) -> None:
        """Charge what an attempt cost."""
        async with self._changed:
            self._flying -= 1
            self._prompt = max(self._prompt or 0, prompt) if prompt else self._prompt
            self._record.ended(request, kind, tokens)
            self._changed.notify_all()

    def _fits(self) -> bool:
        requests, tokens = self._record.spent(0)
        if self._requests is not None and requests >= self._requests:
            return False
        if self._cap is None:
            return True
        if self._prompt is None:
            return not self._flying and tokens + self._left_open * self._most + self._most <= self._cap
        return tokens + (self._left_open + self._flying + 1) * self.reserve <= self._cap


class EndpointCaptioner:
    """Asks a model at an address, several requests at a time."""

    looks = True
    schema: Mapping[str, Any] = SCHEMA

    def __init__(self, model: str, url: str, settings: CaptionSettings, prompt: Prompt) -> None:
        self.model, self.url, self.settings = model, url.rstrip("/"), settings
        self.max_tokens = settings.max_tokens or prompt.max_tokens
        drawn = {"temperature": settings.temperature, "top_p": settings.top_p}
        said = {"temperature": prompt.temperature, "top_p": prompt.top_p}
        self.drawn = {name: value if value is not None else said[name] for name, value in drawn.items()}
        self.drawn = {name: value for name, value in self.drawn.items() if value is not None}
        self._structured = settings.structured
        self._silent = 0
        self._over: InputError | None = None

    @property
    def origin(self) -> str:
        """Whose captions they are."""
        return f"model:{self.settings.captioner}"

    @property
    def identity(self) -> str:
        """Model, address and decoding."""
        said = [self.model, self.url, self.max_tokens, self.drawn, self.settings.structured]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, requests: Sequence[Request], record: Record) -> None:
        """Answer every request; `InputError` where the endpoint takes none, or answers no more."""
        asyncio.run(self._write(requests, record))

    def messages(self, request: Request) -> list[dict[str, Any]]:
        """Return what is sent for a request."""
        return messages_of(request)

    def read(self, said: str, structured: bool, tokens: int | None, cut: bool) -> str:
        """Return the caption in what the model said; `Trouble` where there is none."""
        return sentences_in(said, tokens, cut) if structured else said.strip()

    async def _write(self, requests: Sequence[Request], record: Record) -> None:
        budget = Budget(record, self.settings.max_requests, self.settings.max_total_tokens, self.max_tokens)
        waiting = iter(requests)
        async with client_of(self.url, self.settings) as client:
            workers = [
                asyncio.create_task(self._work(client, waiting, record, budget))
                for _ in range(min(self.settings.concurrency, len(requests)))
            ]
            await asyncio.gather(*workers)
        if self._over is not None:
            raise self._over

    async def _work(self, client: Any, waiting: Iterator[Request], record: Record, budget: Budget) -> None:
        """Answer requests until there are none, or the run is over: what is under way then is still waited for."""
        for request in waiting:
            try:
                answer = await self._ask(client, request, budget)
            except BudgetSpentError:
                answer = Answer(reason="the budget is spent", passing=True, attempts=0)
            except ImageError as error:
                answer = Answer(reason=f"image {error.reason}", attempts=0)
            except InputError as error:
                self._over = self._over or error
                return
            record.answered(request, answer)
            if self._over is not None:
                return

    async def _ask(self, client: Any, request: Request, budget: Budget) -> Answer:
        """Ask until there is an answer, or no further attempt is allowed."""
        messages = self.messages(request)
        cost = 0
        attempt = 0
        while True:
            attempt += 1
            await budget.take(request)
            structured = self._structured
            kind, tokens, prompt = "interrupted", budget.reserve, 0
            try:
                content = await self._send(client, messages, structured)
                prompt, tokens = prompt_of(content), tokens_of(content, budget.reserve)
                text, kind = read_answer(content, structured, self.read)
                self._silent = 0
                return Answer(text, attempts=attempt, tokens=cost + tokens)
            except Trouble as trouble:
                if trouble.tokens is not None or not trouble.reached:
                    tokens = trouble.tokens or 0
                kind = trouble.kind
                self._count_silence(trouble)
                failed = trouble
            except InputError:
                kind, tokens = "refused all work", 0
                raise
            finally:
                await budget.end(request, kind, tokens, prompt)
            cost += tokens
            if kind == _NO_SCHEMA:
                self._structured = False
                continue
            if self._over is not None:
                raise self._over
            if not failed.again or attempt > self.settings.retries:
                return Answer(reason=failed.kind, passing=failed.again, attempts=attempt, tokens=cost)
            await asyncio.sleep(self._wait(attempt, failed.wait_s, request))

    async def _send(self, client: Any, messages: list[dict[str, Any]], structured: bool) -> dict[str, Any]:
        """Return the JSON of an answer; `Trouble` otherwise. The deadline holds for the whole answer."""
        import openai

        more: dict[str, Any] = {"response_format": self.schema} if structured else {}
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                raw = await client.chat.completions.with_raw_response.create(
                    model=self.model, messages=messages, max_tokens=self.max_tokens, **self.drawn, **more
                )
                content = json.loads(raw.http_response.content)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise Trouble("timed out", True) from error
        except openai.APIConnectionError as error:
            raise Trouble("no connection", True, reached=False) from error
        except openai.APIStatusError as error:
            raise self._trouble_of(error, structured) from error
        except (ValueError, RecursionError) as error:
            raise Trouble("malformed answer", True) from error
        if not isinstance(content, dict):
            raise Trouble("malformed answer", True)
        return content

    def _trouble_of(self, error: Any, structured: bool) -> Exception:
        """Return what an HTTP status means: trouble that passes, trouble of this request, or the end of the run."""
        status = int(error.status_code)
        if status == 429:
            return Trouble("asked to wait (429)", True, reached=False, wait_s=retry_after(error.response.headers))
        if status in (408, 409) or status >= 500:
            wait = retry_after(error.response.headers)
            return Trouble(f"server error ({status})", True, wait_s=wait)
        if status in (401, 403, 404):
            return InputError(
                f"{self.url} refuses all work ({status}: {_brief(error)}); is the model {self.model!r} served there, "
                "and does OPENAI_API_KEY hold its key?"
            )
        if structured and status in (400, 422, 501) and "response_format" in str(error):
            return Trouble(_NO_SCHEMA, True, reached=False)
        return Trouble(f"refused ({status})", False, reached=False)

    def _count_silence(self, trouble: Trouble) -> None:
        """Give up where nobody answers at all: a server that died takes no thousand images with it."""
        self._silent = self._silent + 1 if trouble.kind == "no connection" else 0
        if self._silent > self.settings.retries + self.settings.concurrency:
            raise InputError(
                f"{self.url} has stopped answering ({self._silent} attempts without a connection); what was answered "
                "is kept, and the same command goes on from there"
            )

    def _wait(self, attempt: int, asked_s: float | None, request: Request) -> float:
        """Return the seconds before the next attempt: what the server asks for, else doubling, spread a little."""
        if asked_s is not None:
            return min(asked_s, MAX_WAIT_S)
        spread = random.Random(request.own_seed + attempt).uniform(0.5, 1.0)  # noqa: S311  # no secret
        return min(self.settings.wait_s * 2.0 ** (attempt - 1) * spread, MAX_WAIT_S)


_NO_SCHEMA = "no structured output there"


def endpoint_captioner(argument: str, settings: CaptionSettings, prompt: Prompt, area: Area) -> EndpointCaptioner:
    """Return the captioner of `MODEL@URL`."""
    model, url = parse_place(argument)
    return EndpointCaptioner(model, url, settings, prompt)


def parse_place(argument: str) -> tuple[str, str]:
    """Return model and address of `MODEL@URL`; `SettingError` for anything else."""
    model, _, url = argument.rpartition("@")
    if not model or not url.startswith(("http://", "https://")):
        raise SettingError(f"options: captioner is openai:MODEL@URL, as openai:qwen3-vl@http://localhost:8000/v1, "
                           f"not openai:{argument}")  # fmt: skip
    return model, url


def client_of(url: str, settings: CaptionSettings) -> Any:
    """Return the client of an endpoint, without retries of its own."""
    try:
        import openai
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    key = environ.get("OPENAI_API_KEY") or "none"
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=settings.timeout_s)


def messages_of(request: Request) -> list[dict[str, Any]]:
    """Return what is sent: a system prompt where there is one, then the prompt and the image."""
    said: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}] if request.prompt else []
    said.append({"type": "image_url", "image_url": {"url": data_url(request.path)}})
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": said}]


def data_url(path: Path) -> str:
    """Return an image as a `data:` address; `ImageError` where it cannot be read."""
    data = read_encoded(path)
    known = format_of(data)
    form = known.name if known else ""
    if form not in _TAKEN:
        data, form = _as_png(path), "PNG"
    return f"data:{_TAKEN[form]};base64,{base64.b64encode(data).decode()}"


def _as_png(path: Path) -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.fromarray(read_rgb(path)).save(out, "PNG")
    return out.getvalue()


#: Reads what a model said: (text, structured, tokens, cut off) -> caption.
Read = Callable[[str, bool, int | None, bool], str]


def read_answer(content: Mapping[str, Any], structured: bool, read: Read) -> tuple[str, str]:
    """Return the caption of an answer, and how the attempt ended; `Trouble` with what it cost where it holds none."""
    tokens = _usage(content, "total_tokens")
    try:
        choice = content["choices"][0]
        said = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise Trouble("answer without a choice", True, tokens) from error
    if not isinstance(said, str) or not said.strip():
        raise Trouble("empty answer", True, tokens)
    if len(said) > MAX_CHARACTERS:
        raise Trouble("over-long answer", True, tokens)
    cut = choice.get("finish_reason") == "length"
    text = read(said, structured, tokens, cut)
    if not cut:
        return text, "answered"
    if structured:
        return text, "answered"  # cut off just after its end
    whole = text[: max(text.rfind(mark) for mark in ".!?。！？") + 1].strip()
    if not whole:
        raise Trouble("cut off before a sentence ended", False, tokens)
    return whole, "cut off; its whole sentences are kept"


def sentences_in(said: str, tokens: int | None, cut: bool) -> str:
    """Return the sentences of a structured answer as a paragraph; `Trouble` where it is not of the schema."""
    text = said.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        found = json.loads(text)["sentences"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if cut:
            raise Trouble("cut off before a sentence ended", False, tokens) from error
        raise Trouble("malformed JSON", True, tokens) from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise Trouble("malformed JSON", True, tokens)
    joined = " ".join(item.strip() for item in found if item.strip())
    if not joined:
        raise Trouble("empty answer", True, tokens)
    return joined


def tokens_of(content: Mapping[str, Any], reserve: int) -> int:
    """Return the tokens that an answer cost; the reserve where the server does not say."""
    used = _usage(content, "total_tokens")
    return reserve if used is None else used


def prompt_of(content: Mapping[str, Any]) -> int:
    """Return the tokens of the prompt; 0 where the server does not say."""
    return _usage(content, "prompt_tokens") or 0


def _usage(content: Mapping[str, Any], name: str) -> int | None:
    usage = content.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date); None without one."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _brief(error: Any) -> str:
    return " ".join(str(error).split())[:200]
