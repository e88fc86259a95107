"""A judge's endpoint: what may pass is tried again, and what does not is told in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from speechbench.errors import UsageError
from speechbench.rewards.judge import Judge

StubJudge = Callable[..., AbstractContextManager[Any]]
Judged = Callable[..., list[float | None]]
Failure = Callable[[Judge], str]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(
    stub_judge: StubJudge, judged: Judged, judge_failure: Failure, status: int
) -> None:
    with stub_judge(lambda body, number: (status, "busy") if number < 2 else '{"score": 4}') as stub:
        judge = Judge(stub.url, "stub", retries=2)
        assert judged(judge, "two cats") == [1.0]
        assert (len(stub.requests), judge.usage()["requests"]) == (3, 1)
    with stub_judge((status, "busy")) as stub:
        said = judge_failure(Judge(stub.url, "stub", retries=1))
        assert len(stub.requests) == 2
        assert stub.url in said and "busy" in said and "2 attempts" in said


def test_a_slow_answer_is_given_up_after_the_timeout(stub_judge: StubJudge, judge_failure: Failure) -> None:
    with stub_judge('{"score": 4}', seconds=1.0) as stub:
        assert "timeout=0.1" in judge_failure(Judge(stub.url, "stub", retries=1, timeout=0.1))
        assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("status", "words"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "'stub'"), (400, "too long")]
)
def test_a_refusal_is_one_sentence_without_the_key(
    stub_judge: StubJudge, judge_failure: Failure, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with stub_judge((status, "too long, says Bearer sk-very-secret")) as stub:
        judge = Judge(stub.url, "stub")
        said = judge_failure(judge)
        assert len(stub.requests) == 1 and stub.authorizations == ["Bearer sk-very-secret"]
        assert stub.url in said and words in said
        assert "secret" not in said + json.dumps(dict(judge.signature()))


def test_the_key_comes_from_the_variable_that_is_named(
    stub_judge: StubJudge, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_judge('{"score": 4}') as stub:
        monkeypatch.setenv("MY_KEY", "mine")
        judged(Judge(stub.url, "stub", key_env="MY_KEY"), "a")
        assert stub.authorizations == ["Bearer mine"]


def test_a_model_with_another_name_for_the_limit_is_told_that(stub_judge: StubJudge, judged: Judged) -> None:
    def reasoning(body: dict[str, Any], _: int) -> str | tuple[int, str]:
        return (400, "use 'max_completion_tokens' instead") if "max_tokens" in body else '{"score": 4}'

    with stub_judge(reasoning) as stub:
        assert judged(Judge(stub.url, "stub", max_tokens=2000, concurrency=1), "a", "b") == [1.0, 1.0]
        assert [request.get("max_completion_tokens") for request in stub.requests] == [None, 2000, 2000]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://judge.invalid/v1"])
def test_an_endpoint_that_is_not_there_is_named_with_the_remedy(judge_failure: Failure, url: str) -> None:
    said = judge_failure(Judge(url, "stub"))
    assert url in said and "start its server or mend url=" in said


def test_behind_a_proxy_it_is_the_proxy_that_reaches_the_endpoint(
    stub_judge: StubJudge, judge_failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with stub_judge('{"score": 4}') as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        assert "no such path" in judge_failure(Judge("http://judge.invalid/v1", "stub"))  # the proxy's own answer


def test_an_endpoint_of_another_kind_is_named(stub_judge: StubJudge, judge_failure: Failure) -> None:
    with stub_judge('{"score": 4}') as stub:
        assert "/chat/completions" in judge_failure(Judge(stub.url.removesuffix("/v1"), "stub"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://me:hidden@localhost/v1"},
        {"url": "http://localhost/v1?key=hidden"},
        {"key_env": "sk-hidden"},
        {"key_env": "gsk_hidden"},
    ],
)
def test_a_secret_in_a_spec_is_refused_and_not_repeated(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        Judge(**{"url": "http://localhost/v1", "model": "m", **wrong})
    assert "hidden" not in str(caught.value)
