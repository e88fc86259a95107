"""What tests of rewards share: a judge's server, small text encoders, scripts of metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.rewards.base import Batch
from speechbench.rewards.judge import Judge

Reply = str | tuple[int, str]  # an answer, or a status and an error's message


class Request(dict[str, Any]):
    """The body of a request to a judge."""

    @property
    def question(self) -> str:
        """What the user's message says."""
        return str(self["messages"][-1]["content"])

    @property
    def answer(self) -> str:
        """The hypothesis, as it stands between its tags."""
        return self.question.split("<answer>\n")[1].split("\n</answer>")[0]


class StubJudge:
    """A server that speaks as much of OpenAI's protocol as is needed.

    Attributes:
        reply: What it always answers, or what decides that by the request and its number from 0 on.
        requests: In order of arrival.
        authorizations: Their headers of that name.
        at_once: The most requests it ever had open at a time.
        seconds: How long an answer takes.
        finish: Why answers end.
    """

    def __init__(self, reply: Reply | Callable[[Request, int], Reply], seconds: float = 0.0) -> None:
        self.reply, self.seconds = reply, seconds
        self.requests: list[Request] = []
        self.authorizations: list[str] = []
        self.at_once = self._open = 0
        self.model, self.finish = "stub-2026-01-01", "stop"
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = Request(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, content = stub._answer(self.path, body, self.headers["Authorization"])
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def _answer(self, path: str, request: Request, authorization: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.authorizations.append(authorization)
            self._open += 1
            self.at_once = max(self.at_once, self._open)
        time.sleep(self.seconds)
        reply = (404, "no such path") if path != "/v1/chat/completions" else self.reply
        reply = reply(request, number) if callable(reply) else reply
        with self._lock:
            self._open -= 1
        if not isinstance(reply, str):
            return reply[0], {"error": {"message": reply[1], "type": "stub", "code": None, "param": None}}
        return 200, {
            "id": str(number),
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "finish_reason": self.finish, "message": {"role": "assistant", "content": reply}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
        }


@pytest.fixture
def judge_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test of the judge touches the user's cache, nor knows the user's key."""
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def stub_judge(judge_cache: Path) -> Callable[..., AbstractContextManager[StubJudge]]:
    """Makes a server that runs while its context lasts, of what `StubJudge` takes."""

    @contextmanager
    def running(reply: Reply | Callable[[Request, int], Reply], seconds: float = 0.0) -> Iterator[StubJudge]:
        stub = StubJudge(reply, seconds)
        thread = threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            stub.server.shutdown()
            stub.server.server_close()

    return running


@pytest.fixture
def judged(judge_cache: Path) -> Callable[..., list[float | None]]:
    """A judge's scores of hypotheses for one example, which keywords change."""
    usual = Example("e", None, "<|audio|> What does Anna see?", ("two cats",), "Anna sees two cats.", "en", "en")

    def scored(judge: Judge, *hypotheses: str, **changed: Any) -> list[float | None]:
        return judge.score(Batch.of(hypotheses, [replace(usual, **changed)] * len(hypotheses)))

    return scored


@pytest.fixture
def judge_failure(judged: Callable[..., list[float | None]]) -> Callable[[Judge], str]:
    """The one line with which a judge fails."""

    def failure(judge: Judge) -> str:
        with pytest.raises(SpeechbenchError) as caught:
            judged(judge, "two cats")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return failure


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """In many scripts; what the small encoders' tokenizers are trained on."""
    return [
        "Anna hat heute im Garten zwei rote Äpfel gekauft.",
        "Der alte Mann liest am Abend gerne eine lange Zeitung.",
        "The old man reads a long newspaper in the evening.",
        "She bought two red apples in the garden today!",
        "שלום עולם, מה שלומך היום?",
        "مرحبا بالعالم كيف حالك اليوم",
        "日本語の文章です。",
        "Straße, Café, naïve, ﬁne 😀 👩‍👩‍👧 e\u0301",
    ]


@pytest.fixture(scope="session")
def of_bert_score() -> Callable[..., list[float]]:
    """Scores by the package bert-score, at a layer of the encoder in a folder."""

    def scores(
        folder: Path, layer: int, hypotheses: list[str], references: list[list[str]], **settings: Any
    ) -> list[float]:
        import bert_score

        settings["use_fast_tokenizer"] = folder.name == "XLM-R"  # of which a slow one would need sentencepiece's model
        found = bert_score.score(
            hypotheses, references, model_type=str(folder), num_layers=layer, device="cpu", batch_size=64, **settings
        )
        return [float(score) for score in found[2]]

    return scores


LENGTH = 128  # tokens that the small encoders take


def write_tokenizer(family: str, folder: Path, sentences: list[str]) -> Any:
    """A tokenizer of the family, trained on the sentences."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer: Any
    if family == "BERT":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
        made = transformers.BertTokenizerFast
    elif family == "RoBERTa":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
        made = transformers.RobertaTokenizerFast
    else:
        tokenizer = Tokenizer(models.Unigram())
        split = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
        made = transformers.XLMRobertaTokenizerFast
    tokenizer.train_from_iterator(sentences, trainer)
    first, last = (special[2], special[3]) if family == "BERT" else (special[0], special[2])
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    options: dict[str, Any] = {"do_lower_case": False} if family == "BERT" else {}
    if family != "BERT":
        options |= dict(bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>")
    ready = made(tokenizer_file=str(folder / "tokenizer.json"), model_max_length=LENGTH, **options)
    ready.save_pretrained(folder)
    return ready


@pytest.fixture(scope="session")
def write_encoder() -> Callable[..., Path]:
    """Writes a random encoder beside its tokenizer."""

    def written(kind: str, folder: Path, tokenizer: Any, **settings: Any) -> Path:
        import torch
        import transformers

        torch.manual_seed(3)
        roles = {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
        config = getattr(transformers, f"{kind.removesuffix('Encoder')}Config")(**roles, **settings)
        model = getattr(transformers, f"{kind}Model")(config)
        with torch.no_grad():  # vectors that differ as those of a trained encoder do
            for name, weight in model.named_parameters():
                if weight.dim() > 1:
                    weight.normal_(0.0, 0.5 if "embedding" in name else 0.15)
        model.save_pretrained(folder)
        return folder

    return written


@pytest.fixture(scope="session")
def encoders(
    tmp_path_factory: pytest.TempPathFactory, write_encoder: Callable[..., Path], sentences: list[str]
) -> dict[str, Path]:
    """Folders of small encoders of three layers, by family; tests change copies of them."""
    root = tmp_path_factory.mktemp("encoders")
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    kinds = {"BERT": ("Bert", LENGTH), "RoBERTa": ("Roberta", LENGTH + 2), "XLM-R": ("XLMRoberta", LENGTH + 2)}
    made = {}
    for family, (kind, positions) in kinds.items():
        tokenizer = write_tokenizer(family, root / family, sentences)
        made[family] = write_encoder(kind, root / family, tokenizer, max_position_embeddings=positions, **sizes)
    return made


METRIC_SCRIPT = """
import datasets
import evaluate
import numpy as np
{imports}

class Mine(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features={features})

    def _compute(self, {arguments}):
{body}
"""
OVERLAP = """
        each = []
        for said, right in zip(predictions, references):
            right = [right] if isinstance(right, str) else right
            each.append(max(len(set(said.split()) & set(r.split())) / len(set(said.split())) for r in right) ** power)
        return {"overlap": float(np.mean(each)), "each": each, "array": np.array(each, dtype="float32"),
                "percent": 100 * np.mean(each), "pair": [0.5, 0.5], "text": "good", "seen": len(predictions)}
"""


@pytest.fixture(scope="session")
def evaluate_library(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The library evaluate, with its own caches in a folder that goes again."""
    evaluate = pytest.importorskip("evaluate")
    folder = tmp_path_factory.mktemp("evaluate")
    evaluate.config.HF_MODULES_CACHE = folder / "modules"
    evaluate.config.HF_METRICS_CACHE = folder / "metrics"
    return evaluate


@pytest.fixture
def write_metric(evaluate_library: ModuleType, tmp_path: Path) -> Callable[..., str]:
    """Writes a metric's script, whose body and columns may be others; its path."""
    text = 'datasets.Value("string")'

    def written(
        body: str = OVERLAP,
        references: str | None = f"datasets.Sequence({text})",
        arguments: str = "predictions, references, power=1",
        features: str | None = None,
        imports: str = "",
        name: str = "mine.py",
        **others: str,
    ) -> str:
        columns = {"predictions": text, **({"references": references} if references else {}), **others}
        declared = "datasets.Features({" + ", ".join(f"{key!r}: {value}" for key, value in columns.items()) + "})"
        script = METRIC_SCRIPT.format(features=features or declared, arguments=arguments, body=body, imports=imports)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        return str(path)

    return written
