"""The plugs that come with the package: name to "module:attribute", imported on first use."""

from __future__ import annotations

REWARDS = {
    "bertscore": "speechbench.rewards.bertscore:BertScore",
    "binary": "speechbench.rewards.exact:Binary",
    "bleu": "speechbench.rewards.overlap:Bleu",
    "cer": "speechbench.rewards.error_rates:Cer",
    "chrf": "speechbench.rewards.overlap:Chrf",
    "comet": "speechbench.rewards.comet:Comet",
    "confidence": "speechbench.rewards.controls:Confidence",
    "constant": "speechbench.rewards.controls:Constant",
    "evaluate": "speechbench.rewards.hf_evaluate:Evaluate",
    "judge": "speechbench.rewards.judge:Judge",
    "language": "speechbench.rewards.language:Language",
    "length": "speechbench.rewards.controls:Length",
    "meteor": "speechbench.rewards.meteor:Meteor",
    "metricx": "speechbench.rewards.metricx:MetricX",
    "product": "speechbench.rewards.combined:Product",
    "random": "speechbench.rewards.controls:Random",
    "rouge1": "speechbench.rewards.rouge:Rouge1",
    "rouge2": "speechbench.rewards.rouge:Rouge2",
    "rougeL": "speechbench.rewards.rouge:RougeL",
    "shuffled": "speechbench.rewards.shuffled:Shuffled",
    "slots": "speechbench.benchmarks.mini.slots:Slots",
    "sum": "speechbench.rewards.combined:Sum",
    "ter": "speechbench.rewards.ter:Ter",
    "wer": "speechbench.rewards.error_rates:Wer",
}
BENCHMARKS = {
    "covost2": "speechbench.benchmarks.covost2:Covost2",
    "librisqa": "speechbench.benchmarks.librisqa:LibriSQA",
    "manifest": "speechbench.benchmarks.manifest:Manifest",
    "covost2-mini": "speechbench.benchmarks.mini.corpora:Covost2Mini",
    "librisqa-mini": "speechbench.benchmarks.mini.corpora:LibriSQAMini",
}
MODELS = {
    "tiny": "speechbench.models.tiny:Tiny",
    "granite-speech": "speechbench.models.granite_speech:GraniteSpeech",
    "granite-speech-plus": "speechbench.models.granite_speech_plus:GraniteSpeechPlus",
    "voxtral": "speechbench.models.voxtral:Voxtral",
    "qwen2-audio": "speechbench.models.qwen2_audio:Qwen2Audio",
    "qwen2.5-omni": "speechbench.models.qwen2_5_omni:Qwen25OmniThinker",
}
MODEL_TYPES = {  # what a checkpoint's config.json says that it is, to the model that loads it
    "granite_speech": "granite-speech",
    "granite_speech_plus": "granite-speech-plus",
    "voxtral": "voxtral",
    "qwen2_audio": "qwen2-audio",
    "qwen2_5_omni": "qwen2.5-omni",
    "qwen2_5_omni_thinker": "qwen2.5-omni",
}
TRAINERS = {
    "sft": "speechbench.trainers.sft:train",
    "rejection-sft": "speechbench.trainers.rejection_sft:train",
    "grpo": "speechbench.trainers.grpo:train",
    "mixed-grpo": "speechbench.trainers.mixed_grpo:train",
}
