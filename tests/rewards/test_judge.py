"""The reward `judge`, against a local server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import MissingError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.judge import Judge
from speechbench.rewards.judge_prompt import RUBRICS
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import measure

StubJudge = Callable[..., AbstractContextManager[Any]]
Judged = Callable[..., list[float | None]]
Failure = Callable[[Judge], str]


def example(name: str = "e") -> Example:
    return Example(name, None, "<|audio|> What does Anna see?", ("two cats",), "Anna sees two cats.", "en", "en")


def by_answer(grades: dict[str, int]) -> Callable[[Any, int], str]:
    return lambda request, _: json.dumps({"score": grades[request.answer]})


def test_a_grade_is_a_quarter_of_the_score_and_each_question_is_asked_once(
    stub_judge: StubJudge, judged: Judged
) -> None:
    with stub_judge(by_answer({"two cats": 4, "a cat": 2, "a dog": 0})) as stub:
        judge = Judge(stub.url, "stub")
        assert judged(judge, "a cat", "two cats", "a cat", "a dog") == [0.5, 1.0, 0.5, 0.0]
        assert len(stub.requests) == 3
        assert all(request["temperature"] == 0.0 and request["seed"] == 0 for request in stub.requests)
        assert stub.authorizations[0] == "Bearer none"


def test_nothing_is_asked_about_nothing(judged: Judged, judge_cache: Path) -> None:
    judge = Judge("http://127.0.0.1:9/v1", "stub")
    assert judge.score(Batch.of([], [])) == []
    assert judged(judge, "", " \t\n\u2003") == [0.0, 0.0]
    assert judged(judge, "two cats", references=()) == [None]
    assert judge.usage()["requests"] == 0 and not judge_cache.exists()


def test_an_answer_that_is_cut_off_counts_only_if_it_holds_the_object(
    stub_judge: StubJudge, judged: Judged, judge_failure: Failure
) -> None:
    with stub_judge("So far the score is 1") as stub:
        assert judged(Judge(stub.url, "stub"), "two cats") == [0.25]
        stub.finish = "length"
        said = judge_failure(Judge(stub.url, "stub", retries=1, max_tokens=9))
        assert "cut off by max_tokens=9: raise it" in said and "follows the rubric" not in said
        stub.reply = '{"score": 3}, because it'
        assert judged(Judge(stub.url, "stub", max_tokens=9), "two cats") == [0.75]


def test_an_answer_without_a_grade_is_asked_for_again_and_never_a_score(
    stub_judge: StubJudge, judged: Judged, judge_failure: Failure
) -> None:
    with stub_judge(lambda body, number: "well" if number < 2 else '{"score": 4}') as stub:
        judge = Judge(stub.url, "stub", retries=2)
        assert judged(judge, "two cats") == [1.0]
        first, *others = (request.question for request in stub.requests)
        assert len(others) == 2 and all(other.startswith(first) and other != first for other in others)
        assert judge.usage() == {"requests": 3, "cached": 0, "prompt_tokens": 300, "completion_tokens": 21}
        later = Judge(stub.url, "stub")
        judged(later, "two cats")
        assert later.usage() == {"requests": 0, "cached": 1, "prompt_tokens": 300, "completion_tokens": 21}
    with stub_judge("I cannot say") as stub:
        said = judge_failure(Judge(stub.url, "stub", retries=1, max_tokens=9))
        assert len(stub.requests) == 2
        assert "example 'e'" in said and "I cannot say" in said and "max_tokens=9" in said


def test_grades_are_kept_for_later_and_only_new_ones_cost(
    stub_judge: StubJudge, judged: Judged, judge_cache: Path
) -> None:
    with stub_judge('{"score": 3}') as stub:
        first, later = (Judge(stub.url, "stub", price_in=2.0, price_out=10.0) for _ in range(2))
        assert judged(first, "two cats", "a cat") == judged(later, "two cats", "a cat") == [0.75, 0.75]
        judged(later, "three cats")
        assert len(stub.requests) == 3
        cost = {"prompt_tokens": 200, "completion_tokens": 14, "dollars": pytest.approx(540e-6)}
        assert first.usage() == {"requests": 2, "cached": 0, **cost}
        cost = {"prompt_tokens": 300, "completion_tokens": 21, "dollars": pytest.approx(810e-6)}
        assert later.usage() == {"requests": 1, "cached": 2, **cost}  # what its grades have cost, whoever paid
        judged(later, "three cats", "a cat")
        assert later.usage() == {"requests": 1, "cached": 4, **cost}  # each question once
        assert "dollars" not in Judge(stub.url, "stub").usage()
    assert judged(Judge(stub.url, "stub"), "two cats") == [0.75]  # the server is gone


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_training_that_was_killed_reports_the_cost_of_an_undisturbed_one(
    stub_judge: StubJudge, tmp_path: Path, killed_after: int
) -> None:
    from speechbench.trainers.scoring import Scorer

    steps = [("a", "b", "a"), ("b", "c", "d"), ("d", "a", "e")]
    batches = [Batch.of(texts, [example()] * len(texts)) for texts in steps]

    def scorer(stub: Any) -> Scorer:
        return Scorer(load_reward(f"judge(url='{stub.url}', model=stub, price_in=2, price_out=10)"))

    def cost(of: Scorer) -> dict[str, float]:
        return {what: of.usage[what] for what in ("prompt_tokens", "completion_tokens", "dollars")}

    with stub_judge('{"score": 3}') as stub:
        undisturbed = scorer(stub)
        for batch in batches:
            undisturbed.scores(batch)
        assert cost(undisturbed)["prompt_tokens"] == 500
    with stub_judge('{"score": 3}') as stub:
        killed, resumed = scorer(stub), scorer(stub)
        killed.scores(batches[0])
        counted = json.loads(json.dumps(killed.save(tmp_path)))
        for batch in batches[1 : killed_after + 1]:  # paid for after the checkpoint
            killed.scores(batch)
        resumed.go_on(tmp_path, counted)
        for batch in batches[1:]:
            resumed.scores(batch)
        assert len(stub.requests) == 5 and cost(resumed) == pytest.approx(cost(undisturbed))


@pytest.mark.parametrize(
    "other",
    [{"model": "b"}, {"temperature": 0.5}, {"temperature": None}, {"seed": 1}, {"seed": None}, {"max_tokens": 65}],
)
def test_what_can_change_a_grade_is_sent_and_signed_and_asked_anew(
    stub_judge: StubJudge, judged: Judged, other: dict[str, Any]
) -> None:
    with stub_judge('{"score": 3}') as stub:
        plain, changed = Judge(stub.url, "a"), Judge(stub.url, **{"model": "a", **other})
        judged(plain, "two cats")
        judged(changed, "two cats")
        assert len(stub.requests) == 2
        (name, value), *_ = other.items()
        assert stub.requests[1].get(name) == value and stub.requests[0].get(name) != value
        assert (name in stub.requests[1]) == (value is not None)
        assert plain.signature() != changed.signature()
        assert json.loads(json.dumps(changed.signature())) == changed.signature()


def test_another_endpoint_is_another_judge(stub_judge: StubJudge, judged: Judged) -> None:
    with stub_judge('{"score": 3}') as one, stub_judge('{"score": 1}') as two:
        assert judged(Judge(one.url, "stub"), "a cat") != judged(Judge(two.url, "stub"), "a cat")
        assert Judge(one.url, "stub").signature() != Judge(two.url, "stub").signature()
        assert Judge(one.url + "/", "stub").signature() == Judge(one.url, "stub").signature()


def test_requests_are_sent_at_once_as_many_as_allowed(stub_judge: StubJudge, judged: Judged) -> None:
    for concurrency in (1, 3):
        with stub_judge('{"score": 3}', seconds=0.1) as stub:
            judged(Judge(stub.url, "stub", concurrency=concurrency), *map(str, range(9)))
            assert stub.at_once == concurrency


def test_it_scores_in_a_thread_that_is_not_main(stub_judge: StubJudge, judged: Judged) -> None:
    with stub_judge('{"score": 2}') as stub, ThreadPoolExecutor(4) as pool:
        judge = Judge(stub.url, "stub")
        assert list(pool.map(lambda n: judged(judge, "the same", str(n)), range(4))) == [[0.5, 0.5]] * 4


@pytest.mark.parametrize("where", ["main", "another"])
def test_ctrl_c_ends_it_while_the_endpoint_keeps_silent(stub_judge: StubJudge, where: str) -> None:
    work = """if True:
        import signal, sys, threading, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        from speechbench.benchmarks.base import Example
        from speechbench.rewards.base import Batch
        from speechbench.rewards.judge import Judge
        example = Example("e", None, "", ("r",), None, "en", "en")
        judge = Judge(sys.argv[1], "stub", timeout=250)
        score = lambda: judge.score(Batch.of(["a", "b"], [example] * 2))
        if sys.argv[2] == "main":
            score()
        else:
            threading.Thread(target=score).start()
            time.sleep(250)
        """
    with stub_judge('{"score": 2}', seconds=250) as stub:
        process = subprocess.Popen([sys.executable, "-c", work, stub.url, where], stderr=subprocess.PIPE, text=True)
        while len(stub.requests) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)  # which is less than the endpoint keeps silent
    assert process.returncode != 0 and "KeyboardInterrupt" in said


def test_a_name_that_stands_for_several_models_is_told_once(stub_judge: StubJudge, judged: Judged) -> None:
    with stub_judge('{"score": 4}') as stub:
        judge = Judge(stub.url, "stub")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            judged(judge, "a", "b")
        stub.model = "stub-2026-02-02"
        with pytest.warns(UserWarning, match="stub-2026-01-01 and as stub-2026-02-02"):
            judged(judge, "c")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            judged(judge, "d")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "localhost:8000"},
        {"url": "ftp://localhost/v1"},
        {"url": "http://localhost:99999/v1"},
        {"url": ""},
        {"model": ""},
        {"model": 4},
        {"retries": -1},
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"max_tokens": True},
        {"seed": "x"},
        {"timeout": 0},
        {"temperature": "cold"},
        {"price_in": -1},
        {"price_out": float("nan")},
    ],
)
def test_wrong_parameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"judge\({next(iter(wrong))}="):
        Judge(**{"url": "http://localhost/v1", "model": "m", **wrong})


def test_what_a_parameter_should_be_is_told() -> None:
    with pytest.raises(UsageError, match=r"judge\(timeout=0\): it should be a number of seconds above 0"):
        Judge("http://localhost/v1", "m", timeout=0)
    for end in ("", "/"):
        with pytest.raises(UsageError, match=r"name the base, url=http://localhost/v1\Z"):
            Judge("http://localhost/v1/chat/completions" + end, "m")


def test_different_judges_have_different_columns(tmp_path: Path) -> None:
    (tmp_path / "correctness.txt").write_text("4: good\n0: bad")
    rubrics = ("correctness", "faithfulness", str(tmp_path / "correctness.txt"))
    shown = {Judge("http://localhost/v1", "m", rubric=rubric).display for rubric in rubrics}
    others: list[dict[str, Any]] = [{"temperature": 0.5}, {"temperature": None}, {"seed": 1}, {"max_tokens": 4000}]
    shown |= {Judge("http://localhost/v1", "m", **other).display for other in others}
    assert len(shown) == 7 and "judge[m]" in shown and "judge[m, temperature=0.5]" in shown


def test_incidental_parameters_are_those_that_the_signature_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    rubrics = [tmp_path / "one" / "own.txt", tmp_path / "two" / "own.txt"]
    for rubric in rubrics:
        rubric.parent.mkdir()
        rubric.write_text("4: good\n0: bad")
    one, two = (str(rubric) for rubric in rubrics)
    others: dict[str, Any] = {"concurrency": 1, "retries": 0, "timeout": 5, "price_in": 1, "price_out": 1}
    others |= {"key_env": "MY_KEY", "rubric": two}
    assert set(others) == Judge.incidental
    plain = Judge("http://localhost/v1", "m", rubric=one).signature()
    for name, value in others.items():
        assert Judge("http://localhost/v1", "m", **{"rubric": one, name: value}).signature() == plain
    signatures = [Judge("http://localhost/v1", "m", rubric=name).signature() for name in RUBRICS]
    Path(two).write_text("4: better\n0: bad")
    signatures.append(Judge("http://localhost/v1", "m", rubric=two).signature())
    assert len({json.dumps(signature) for signature in [plain, *signatures]}) == 4


def test_it_is_made_and_measured_from_its_spec(stub_judge: StubJudge) -> None:
    with stub_judge(by_answer({"two cats": 4, "a cat": 1})) as stub:
        judge = load_reward(f"judge(url={stub.url}, model=stub)")
        assert (judge.display, judge.waits, judge.is_pure) == ("judge[stub]", True, True)
        measured = measure(judge, ["two cats", "a cat"], [example("a"), example("b")])
        assert measured.segments == [100.0, 25.0] and measured.corpus == 62.5
        assert load_reward(measured.name).signature() == measured.signature


def test_without_its_library_it_says_how_to_install_it(
    judge_failure: Failure, monkeypatch: pytest.MonkeyPatch, few_manifest: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    judge = Judge("http://127.0.0.1:9/v1", "stub")
    with pytest.raises(MissingError, match=r"pip install 'speechbench\[judge\]'"):
        judge.check(Manifest(str(few_manifest)))
    assert "pip install 'speechbench[judge]'" in judge_failure(judge)


def test_it_loads_no_library_until_it_asks() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import speechbench.rewards.judge, sys; print('openai' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "False\n"
