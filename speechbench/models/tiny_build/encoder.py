"""Stage one: the audio encoder alone learns to spell, by CTC on characters with SpecAugment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from speechbench.models.tiny_build.architecture import CHARACTERS


def spell(text: str) -> torch.Tensor:
    """Character numbers of a text for CTC: letters and spaces."""
    return torch.tensor([CHARACTERS.index(c) for c in text.lower() if c in CHARACTERS[1:]])


def hear(encoder: nn.Module, features: torch.Tensor) -> str:
    """Greedy CTC transcript of one utterance's features [frame, 160]."""
    with torch.inference_mode():
        best = encoder.out(encoder(features[None]))[0].argmax(-1).unique_consecutive()  # type: ignore[operator]
    return "".join(CHARACTERS[i] for i in best.tolist() if i)


def _mask(features: torch.Tensor, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """SpecAugment (arXiv 1904.08779), on stacked frames: two bands of up to 10 mels, three spans of up to 12 frames."""
    features = features.clone()
    for row, length in enumerate(lengths.tolist()):
        for _ in range(2):
            width, start = (int(torch.randint(n, (), generator=generator)) for n in (11, 70))
            features[row, :, start : start + width] = features[row, :, 80 + start : 80 + start + width] = 0.0
        for _ in range(3):
            width = int(torch.randint(13, (), generator=generator))
            start = int(torch.randint(max(1, length - width), (), generator=generator))
            features[row, start : start + width] = 0.0
    return features


def train(
    encoder: nn.Module,
    features: Sequence[torch.Tensor],
    texts: Sequence[str],
    epochs: int,
    learning_rate: float = 2e-3,
    batch_frames: int = 4000,
    progress: Callable[[int, int, float], None] | None = None,
) -> None:
    """Trains `encoder` in place.

    Args:
        encoder: A GraniteSpeechCTCEncoder whose output layer has `len(CHARACTERS)` rows.
        features: For each utterance its log-mel features [frame, 160].
        texts: What is said.
        epochs: Passes over all utterances.
        learning_rate: Peak of a one-cycle schedule.
        batch_frames: Frames in a batch; utterances of like length go together, the encoder having no mask.
        progress: Called as `progress(step, steps, loss)`.
    """
    generator = torch.Generator().manual_seed(0)
    order = sorted(range(len(features)), key=lambda i: len(features[i]))
    batches: list[list[int]] = [[]]
    for index in order:
        if (len(batches[-1]) + 1) * len(features[index]) > batch_frames:
            batches.append([])
        batches[-1].append(index)
    steps = epochs * len(batches)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.15)
    encoder.train()
    step = 0
    for _ in range(epochs):
        for number in torch.randperm(len(batches), generator=generator).tolist():
            rows = [features[i] for i in batches[number]]
            targets = [spell(texts[i]) for i in batches[number]]
            lengths = torch.tensor([len(row) for row in rows])
            padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            hidden = encoder(_mask(padded, lengths, generator))
            loss = nn.functional.ctc_loss(
                encoder.out(hidden).log_softmax(-1).transpose(0, 1),  # type: ignore[operator]
                torch.cat(targets),
                lengths,
                torch.tensor([len(t) for t in targets]),
                zero_infinity=True,
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if progress is not None:
                progress(step, steps, loss.item())
    encoder.eval()
