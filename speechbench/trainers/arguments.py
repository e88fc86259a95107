"""What transformers' training loop is told, from what a trainer is told."""

from __future__ import annotations

import math

import torch
from transformers import TrainingArguments

from speechbench.distributed import world_size
from speechbench.errors import SpeechbenchError
from speechbench.run_schema import CHECKPOINTS
from speechbench.trainers.config import TrainConfig


def training_arguments(config: TrainConfig, examples: int) -> TrainingArguments:
    """The arguments of transformers' Trainer.

    Gradient checkpointing is not among them: versions of transformers differ in how they ask a model for it.

    Args:
        config: Of the training.
        examples: How many there are to learn from; a batch holds no more, nor do those of all processes together.

    Raises:
        SpeechbenchError: If there are more processes than examples.
    """
    each = examples // world_size()
    if not each:
        raise SpeechbenchError(
            f"{world_size()} processes cannot share {examples} training examples: start fewer, or name more data"
        )
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(config.output_dir / CHECKPOINTS),
        max_steps=config.max_steps,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=min(config.per_device_train_batch_size, each),
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        warmup_steps=math.ceil(config.max_steps * config.warmup_ratio),  # transformers 5 has no warmup_ratio
        lr_scheduler_type=config.lr_scheduler_type,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=config.bf16,
        save_steps=config.save_steps,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would log a mean in place of a NaN
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        dataloader_pin_memory=on_gpu,
        use_cpu=not on_gpu,
        ddp_find_unused_parameters=True,  # as an audio projector's where no prompt of a batch has audio
        label_names=[],
    )
