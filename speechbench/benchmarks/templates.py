"""How a model is asked: the two prompt templates of the paper (arXiv 2509.16990)."""

from __future__ import annotations

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER

LANGUAGES = {
    "ar": "Arabic",
    "ca": "Catalan",
    "cy": "Welsh",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fr": "French",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "lv": "Latvian",
    "mn": "Mongolian",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "sl": "Slovenian",
    "sv-SE": "Swedish",
    "ta": "Tamil",
    "tr": "Turkish",
    "zh-CN": "Chinese",
}


def translation(target_language: str) -> str:
    """The instruction to translate into a language, by its code."""
    name = LANGUAGES.get(target_language, target_language)
    return f"{AUDIO_PLACEHOLDER} listen to the speech and translate it into {name}."


def question(text: str) -> str:
    """The instruction to answer a question about the speech."""
    return f"Listen to the audio {AUDIO_PLACEHOLDER} and answer the following question: {text}"
