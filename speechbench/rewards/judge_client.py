"""An OpenAI-compatible endpoint: reached, asked, and its refusals told in one sentence each."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.libraries import needed
from speechbench.rewards.judge_prompt import Messages
from speechbench.threads import failure_within

USUAL_KEY = "OPENAI_API_KEY"
_CONNECT = 5.0  # seconds that an endpoint may take to accept a connection
_SHOWN = 200  # characters of an endpoint's own words in an error
_KEPT = "what is graded is kept, so the same command then goes on from there"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """What a judge said.

    Attributes:
        text: Its words.
        model: What the endpoint says has answered, as a dated snapshot.
        cut: Whether the limit of tokens ended it.
        prompt_tokens: What the question took; 0 where the server does not count.
        completion_tokens: What the answer took; likewise.
    """

    text: str
    model: str
    cut: bool
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Endpoint:
    """A model behind an OpenAI-compatible endpoint; safe to use in several threads.

    Attributes:
        url: What "/chat/completions" is appended to, without a slash at its end.
        model: The name under which the endpoint knows it.
        sampling: What is sent with each question: temperature, seed, max_tokens.
        key_env: Environment variable that holds the key.
        retries: How often a request is sent again that failed for a reason that may pass.
        timeout: Seconds for one answer.
        requests: Answers got so far.
    """

    url: str
    model: str
    sampling: Mapping[str, float]
    key_env: str
    retries: int
    timeout: float
    requests: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _limit: str = "max_tokens"

    def reach(self) -> None:
        """Makes sure that there is someone to ask, before anyone retries; does nothing behind a proxy.

        Raises:
            SpeechbenchError: If nobody accepts a connection; within seconds.
        """
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        proxies = urllib.request.getproxies()
        if (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(host):
            return
        address = (host, parts.port or _PORTS[parts.scheme])
        failure = failure_within(_CONNECT + 1, lambda: socket.create_connection(address, _CONNECT).close())
        if failure is not None:
            raise SpeechbenchError(
                f"judge: {self.url} cannot be reached ({failure}): start its server or mend url=, and run the same "
                f"command again; {_KEPT}"
            )

    def ask(self, messages: Messages, what: str) -> Answer:
        """Asks one question; what may pass (no answer, too many requests, a server's error) is tried again.

        Args:
            messages: The question.
            what: What it is about, for errors.

        Raises:
            SpeechbenchError: If there is no answer.
        """
        openai = self._openai
        try:
            reply = self._sent(messages)
        except openai.APIStatusError as error:
            raise SpeechbenchError(self._refusal(error, what)) from None
        except openai.APIConnectionError as error:  # a timeout is one of these
            raise SpeechbenchError(
                f"judge: {self.url} gave no answer about {what} ({self._said(error.__cause__ or error)}), "
                f"{self._tries}: see to its server, or allow more than timeout={self.timeout:g} seconds; {_KEPT}"
            ) from None
        except openai.OpenAIError as error:
            raise SpeechbenchError(
                f"judge: {self.url} answered about {what} what is no chat completion ({self._said(error)}): {_BASE}"
            ) from None
        try:
            choice = reply.choices[0]
            text = choice.message.content
        except (AttributeError, IndexError, TypeError):
            raise SpeechbenchError(
                f"judge: {self.url} answered about {what} what is no chat completion: {_BASE}"
            ) from None
        with self._counting:
            self.requests += 1
        read, written = (getattr(reply.usage, f"{what}_tokens", None) or 0 for what in ("prompt", "completion"))
        return Answer(text or "", str(reply.model or self.model), choice.finish_reason == "length", read, written)

    def _sent(self, messages: Messages) -> Any:
        sampling = {self._limit if name == "max_tokens" else name: value for name, value in self.sampling.items()}
        try:
            return self._client.chat.completions.create(model=self.model, messages=messages, **sampling)
        except self._openai.BadRequestError as error:
            # OpenAI's reasoning models have another name for the same limit, and refuse the one that all others take.
            if "max_tokens" not in sampling or "max_completion_tokens" not in str(error):
                raise
            self._limit = "max_completion_tokens"
            return self._sent(messages)

    @cached_property
    def _openai(self) -> ModuleType:
        return needed("openai", "judge", "reward judge")

    @cached_property
    def _client(self) -> Any:
        return self._openai.OpenAI(
            base_url=self.url,
            api_key=self._key or "none",  # the library wants one; servers on one's own machine do not
            timeout=self._openai.Timeout(self.timeout, connect=_CONNECT),
            max_retries=self.retries,
        )

    @property
    def _key(self) -> str:
        """The key; empty where the usual variable is not set."""
        return os.environ.get(self.key_env, "").strip()

    @property
    def _tries(self) -> str:
        return f"in {self.retries + 1} attempts"

    def _refusal(self, error: Any, what: str) -> str:
        """One sentence for an answer with an error's status."""
        status, said = error.status_code, self._said(error)
        if status in (401, 403):  # what the endpoint says of it may hold the key
            return (
                f"judge: {self.url} refuses the key (status {status}): set the environment variable {self.key_env} to "
                f"one that it accepts for {self.model!r}"
            )
        if status == 404:
            return f"judge: {self.url} knows no model {self.model!r} ({said}): mend model=, or url=: {_BASE}"
        if status == 429:
            return (
                f"judge: {self.url} refuses more requests, {self._tries} ({said}): lower concurrency=, raise "
                f"retries=, or see to your quota; {_KEPT}"
            )
        if status >= 500:
            return f"judge: {self.url} failed on {what}, {self._tries} ({said}): see to its server; {_KEPT}"
        return (
            f"judge: {self.url} refuses the question about {what} ({said}): mend what it names; temperature=none and "
            "seed=none leave these out"
        )

    def _said(self, error: BaseException) -> str:
        """An error in the words of the endpoint, on one line, without the key."""
        text = " ".join(str(error).split()) or type(error).__name__
        if self._key:
            text = text.replace(self._key, "[key]")
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


_PATH = "/chat/completions"
_BASE = f"url= is what {_PATH} is appended to, and mostly ends in /v1"


def checked_url(url: str) -> str:
    """An endpoint's address, without a slash at its end.

    Raises:
        UsageError: If it is no address, or that of the chat completions themselves, or holds a password or a key;
            the message does not repeat those.
    """
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in _PORTS or not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad:
        raise UsageError("judge(url=...): this is no address of an endpoint: write one as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"judge(url={parts.scheme}://{parts.hostname}...): an address with a user, a password or a query would be "
            f"written into every result: put the key into the environment variable {USUAL_KEY}, or name another with "
            "key_env="
        )
    url = url.rstrip("/")
    if url.endswith(_PATH):
        raise UsageError(f"judge(url={url}): {_PATH} is appended to it: name the base, url={url.removesuffix(_PATH)}")
    return url


def checked_key_env(name: str) -> str:
    """The name of an environment variable, which is set unless it is the usual one.

    Raises:
        UsageError: If there is none of that name; it is not repeated, for it may be the key itself.
    """
    if name != USUAL_KEY and not os.environ.get(str(name), "").strip():
        raise UsageError(
            "judge(key_env=...): no environment variable of this name is set (it is not repeated here, lest it be the "
            "key): name the variable that holds the key, and set it with `export NAME=...`"
        )
    return name
