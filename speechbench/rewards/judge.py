"""The reward `judge`: a large language model grades each hypothesis."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.libraries import needed
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.judge_cache import GradeCache, Graded
from speechbench.rewards.judge_client import USUAL_KEY, Endpoint, checked_key_env, checked_url
from speechbench.rewards.judge_prompt import (
    BEST,
    LONGEST,
    PROMPT_VERSION,
    Messages,
    grade_of,
    messages,
    read_rubric,
    reminded,
)
from speechbench.rewards.texts import column
from speechbench.specs import write
from speechbench.threads import in_threads

_SHOWN = 80  # characters of a judge's answer in an error


class Judge(Reward):
    """A language model behind any OpenAI-compatible endpoint grades the hypothesis from 0 to 4; the score is a quarter.

    It sees the instruction, the transcript where there is one, all references and the hypothesis, each between tags
    that none of them can close. A hypothesis without a visible character scores 0 unasked; one of more than 8,000
    characters is shown up to there. An answer without a grade is asked for again, and in the end is an error, never
    a score. Grades are kept in the folder of made corpora (`SPEECHBENCH_CACHE`), so that no question is paid for
    twice and a run that was killed goes on with the same grades. The key comes from the environment alone.

    Args:
        url: What "/chat/completions" is appended to, as http://localhost:8000/v1.
        model: The name under which the endpoint knows the judge.
        rubric: "correctness" (against the references; for question answering), "faithfulness" (against the
            transcript), or the path of a text file that says what each grade from 0 to 4 means.
        temperature: Sent with each question; `None` leaves it out, for endpoints that refuse it.
        seed: Likewise.
        max_tokens: Longest answer; a model that thinks before it answers needs some thousands. One that is cut off
            there counts only if it holds the JSON object that is asked for.
        concurrency: Questions at once.
        retries: How often what failed for a reason that may pass, or held no grade, is asked again.
        timeout: Seconds for one answer.
        key_env: Environment variable that holds the key, which must be set; without the usual one none is sent.
        price_in: Dollars for a million tokens of questions.
        price_out: Dollars for a million tokens of answers.

    Raises:
        UsageError: If one of these is not what it should be.
    """

    family = "learned"
    several_references = "pooled"
    extra = "judge"
    incidental = frozenset({"concurrency", "retries", "timeout", "price_in", "price_out", "key_env", "rubric"})
    is_pure = True
    waits = True
    citation: ClassVar[str] = "Zheng et al. 2023, https://arxiv.org/abs/2306.05685"

    def __init__(
        self,
        url: str,
        model: str,
        rubric: str = "correctness",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int = 64,
        concurrency: int = 8,
        retries: int = 4,
        timeout: float = 60.0,
        key_env: str = USUAL_KEY,
        price_in: float = 0.0,
        price_out: float = 0.0,
    ) -> None:
        for name, value in {"url": url, "model": model, "rubric": rubric}.items():
            if not isinstance(value, str) or not value.strip():
                raise UsageError(f"judge({name}=...): it should be a text that is not empty, in quotes if need be")
        whole = {"max_tokens": (max_tokens, 1), "concurrency": (concurrency, 1), "retries": (retries, 0)}
        whole.update({} if seed is None else {"seed": (seed, 0)})
        for name, (count, least) in whole.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < least:
                raise UsageError(f"judge({name}={count}): it should be a whole number, at least {least}")
        numbers = {"timeout": timeout, "price_in": price_in, "price_out": price_out}
        numbers.update({} if temperature is None else {"temperature": temperature})
        for name, number in numbers.items():
            a_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not a_number or not 0 <= number < math.inf or (name == "timeout" and number == 0):
                wanted = "a number of seconds above 0" if name == "timeout" else "a number, not below 0"
                raise UsageError(f"judge({name}={number}): it should be {wanted}")
        self.rubric = read_rubric(rubric)
        self.concurrency, self.retries = concurrency, retries
        self.prices = (float(price_in), float(price_out))
        self.needs = self.rubric.needs
        self.several_references = "pooled" if "reference" in self.needs else "none"
        warmth = None if temperature is None else float(temperature)
        given = {"temperature": warmth, "seed": seed, "max_tokens": max_tokens}
        usual = inspect.signature(Judge).parameters
        told = [f"{name}={write(value)}" for name, value in given.items() if value != usual[name].default]
        self.display = column("judge", model, None if rubric == "correctness" else self.rubric.name, *told)
        sampling = {name: value for name, value in given.items() if value is not None}
        self._endpoint = Endpoint(checked_url(url), model, sampling, checked_key_env(key_env), retries, float(timeout))
        self._cached = 0
        self._used: set[str] = set()  # keys of the questions whose tokens are counted
        self._tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        self._models: set[str] = set()
        self._state = threading.Lock()
        self._reached = False

    def check(self, benchmark: Benchmark) -> None:
        """Makes sure that the package openai is there.

        Raises:
            MissingError: If it is not.
        """
        needed("openai", "judge", "reward judge")

    def score(self, batch: Batch) -> list[float | None]:
        """Grades over 4; `None` for an example without what the rubric needs.

        Raises:
            SpeechbenchError: If the endpoint cannot be reached or refuses, a judge's answers hold no grade, or the
                grades cannot be kept; the message says which, about which example, and what to do.
        """
        scores: list[float | None] = [None] * len(batch.hypotheses)
        questions: dict[str, _Question] = {}
        keys: dict[int, str] = {}
        for row, (hypothesis, example) in enumerate(zip(batch.hypotheses, batch.examples, strict=True)):
            if not self._applies(example):
                continue
            if not hypothesis.strip():
                scores[row] = 0.0
                continue
            question = self._question(hypothesis, example)
            questions.setdefault(question.key, question)
            keys[row] = question.key
        graded = self._graded(list(questions.values())) if questions else {}
        for row, key in keys.items():
            scores[row] = graded[key].grade / BEST
        return scores

    def signature(self) -> Mapping[str, Any]:
        """Name, version and hash of the prompt with its rubric, endpoint, model and what is sent along.

        Not in it is which weights the endpoint answers with: a hosted model may change under one name. Name a dated
        snapshot where there is one; scoring warns when answers come from more than one.
        """
        wording = json.dumps(messages(self.rubric, "instruction", "source", ["reference"], "hypothesis"))
        return {
            "name": "judge",
            "version": PROMPT_VERSION,
            "prompt": hashlib.sha256(wording.encode()).hexdigest(),
            "longest": LONGEST,
            "rubric": self.rubric.name,
            "grades": f"0..{BEST}",
            "url": self._endpoint.url,
            "model": self._endpoint.model,
            **self._endpoint.sampling,
        }

    def usage(self) -> Mapping[str, float]:
        """What the grades that this object used have cost, whenever they were bought.

        So a run that was killed reports what an undisturbed one does, though its last grades were paid for before.

        Returns:
            Tokens, and dollars where priced, of each question the first time its grade is used, be it new or kept;
            beside them "requests", how many answers this object asked for, and "cached", how often a grade was there.
        """
        with self._state:
            used: dict[str, float] = {"requests": self._endpoint.requests, "cached": self._cached, **self._tokens}
        if any(self.prices):
            price_in, price_out = self.prices
            used["dollars"] = (used["prompt_tokens"] * price_in + used["completion_tokens"] * price_out) / 1e6
        return used

    def _applies(self, example: Example) -> bool:
        has = {"reference": bool(example.references), "source": example.source is not None}
        return all(has[need] for need in self.needs)

    def _question(self, hypothesis: str, example: Example) -> _Question:
        asked = messages(self.rubric, example.instruction, example.source, example.references, hypothesis)
        endpoint = self._endpoint
        content = json.dumps([PROMPT_VERSION, endpoint.url, endpoint.model, endpoint.sampling, asked], sort_keys=True)
        return _Question(hashlib.sha256(content.encode()).hexdigest(), asked, f"example {example.id!r}")

    def _graded(self, questions: Sequence[_Question]) -> dict[str, Graded]:
        """The grades of different questions, by key: those that are kept, and the others from the endpoint."""
        cache = GradeCache()
        graded = cache.lookup([question.key for question in questions])
        with self._state:
            self._cached += len(graded)
        new = [question for question in questions if question.key not in graded]
        if new and not self._reached:
            needed("openai", "judge", "reward judge")
            self._endpoint.reach()
            self._reached = True

        def ask(question: _Question) -> tuple[str, Graded]:
            return question.key, cache.keep(question.key, self._asked(question))

        graded.update(in_threads(ask, new, self.concurrency))
        self._count(graded)
        self._note({answer.model for answer in graded.values()})
        return graded

    def _count(self, graded: Mapping[str, Graded]) -> None:
        with self._state:
            for key in graded.keys() - self._used:
                self._tokens["prompt_tokens"] += graded[key].prompt_tokens
                self._tokens["completion_tokens"] += graded[key].completion_tokens
            self._used |= graded.keys()

    def _asked(self, question: _Question) -> Graded:
        """The endpoint's grade, asked for until there is one."""
        asked, prompt_tokens, completion_tokens = question.messages, 0, 0
        for _ in range(self.retries + 1):
            answer = self._endpoint.ask(asked, question.what)
            prompt_tokens += answer.prompt_tokens
            completion_tokens += answer.completion_tokens
            grade = grade_of(answer.text, answer.cut)
            if grade is not None:
                return Graded(grade, answer.model, prompt_tokens, completion_tokens)
            asked = reminded(question.messages)
        said = " ".join(answer.text.split())
        said = said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"
        limit = f"max_tokens={self._endpoint.sampling['max_tokens']}"
        remedy = f"name a model that follows the rubric, or raise {limit} for one that thinks first"
        if answer.cut:
            remedy = f"that was cut off by {limit}: raise it, to some thousands for a model that thinks first"
        raise SpeechbenchError(
            f"judge: {self._endpoint.model!r} gave no grade to {question.what} in {self.retries + 1} answers, in the "
            f"last it said {said!r}: {remedy}"
        )

    def _note(self, models: set[str]) -> None:
        """Warns, once, when the endpoint's name stands for more than one model."""
        with self._state:
            first = len(self._models) < 2
            self._models |= models
            several = first and len(self._models) > 1
        if several:
            warnings.warn(
                f"judge: {self._endpoint.model!r} answers as {' and as '.join(sorted(self._models))}: grades of "
                "different models do not compare; name one that does not change, as a dated snapshot",
                stacklevel=2,
            )


@dataclass(frozen=True)
class _Question:
    """One question to the judge.

    Attributes:
        key: By which its grade is kept.
        messages: What is asked.
        what: The example it is about, for errors.
    """

    key: str
    messages: Messages
    what: str
