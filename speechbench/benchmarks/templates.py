"""The words that a model is asked in, by task, and the English names of languages. `prompts` chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from speechbench.languages import primary

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
"""The languages of CoVoST 2, by the codes that it has for them."""

_FURTHER = """
af/Afrikaans am/Amharic az/Azerbaijani be/Belarusian bg/Bulgarian bn/Bengali bs/Bosnian cs/Czech da/Danish el/Greek
eo/Esperanto eu/Basque fi/Finnish ga/Irish gl/Galician gu/Gujarati ha/Hausa he/Hebrew hi/Hindi hr/Croatian hu/Hungarian
hy/Armenian ig/Igbo is/Icelandic ka/Georgian kk/Kazakh km/Khmer kn/Kannada ko/Korean lo/Lao lt/Lithuanian
mk/Macedonian ml/Malayalam mr/Marathi ms/Malay mt/Maltese my/Burmese nb/Norwegian ne/Nepali no/Norwegian pa/Punjabi
pl/Polish ps/Pashto ro/Romanian rw/Kinyarwanda si/Sinhala sk/Slovak so/Somali sq/Albanian sr/Serbian sw/Swahili
te/Telugu th/Thai tl/Tagalog uk/Ukrainian ur/Urdu uz/Uzbek vi/Vietnamese yo/Yoruba yue/Cantonese zu/Zulu
"""
_NAMES = {primary(code): name for code, name in LANGUAGES.items()} | dict(pair.split("/") for pair in _FURTHER.split())
_VARIETIES = {  # where the region or the script says what is to be written
    ("pt", "br"): "Brazilian Portuguese",
    ("zh", "hant"): "Traditional Chinese",
    ("zh", "hk"): "Traditional Chinese",
    ("zh", "tw"): "Traditional Chinese",
}


@dataclass(frozen=True)
class Wording:
    """How one task is worded.

    Attributes:
        templates: Built-in ones, each with `AUDIO_PLACEHOLDER` once and fields in braces. The first is the paper's
            (arXiv 2509.16990) where it has one, and what is asked unless something else is wanted.
        fields: That a template may have.
        needed: That it must have.
        is_papers: Whether the first template is the paper's.
    """

    templates: tuple[str, ...]
    fields: tuple[str, ...]
    needed: tuple[str, ...] = ()
    is_papers: bool = False


WORDINGS: Mapping[str, Wording] = {
    "translation": Wording(
        (
            "<|audio|> listen to the speech and translate it into {language}.",
            "Translate the speech into {language}: <|audio|>",
            "<|audio|> What does the speaker say? Write it in {language}.",
            "Here is a recording: <|audio|> Give its {language} translation.",
            "How would you say this in {language}? <|audio|>",
            "Please translate what you hear in <|audio|> from speech into {language} text.",
            "<|audio|> Put the words of this speaker into {language}.",
            "You will hear a sentence. <|audio|> Now write down the same sentence in {language}.",
        ),
        fields=("language", "source_language"),
        is_papers=True,
    ),
    "question-answering": Wording(
        (
            "Listen to the audio <|audio|> and answer the following question: {question}",
            "<|audio|> {question}",
            "{question} <|audio|>",
            "Here is a recording: <|audio|> Answer this question about it: {question}",
            "Question: {question} The answer is in this recording: <|audio|>",
            "<|audio|> From what you have just heard, answer: {question}",
            "You will hear someone speak. <|audio|> Now answer the question. {question}",
            "Use the recording <|audio|> to answer the question that follows. {question}",
        ),
        fields=("question",),
        needed=("question",),
        is_papers=True,
    ),
    "multiple-choice": Wording(
        (
            "Listen to the audio <|audio|> and answer the following question with the letter of the right option and "
            "the reason: {question}",
            "<|audio|> Choose the right option: give its letter first, then explain why. {question}",
            "{question} Pick the option that the recording supports, by its letter, and say why. <|audio|>",
            "Here is a recording: <|audio|> Which option is right? Give the letter and your reason. {question}",
            "<|audio|> {question} Answer with one letter, followed by an explanation.",
            "Use the recording <|audio|> to choose among the options: state the letter, then justify it. {question}",
            "Question: {question} Recording: <|audio|> Name the correct letter and analyse why it is correct.",
            "You will hear someone speak. <|audio|> Now reply with the letter of the right option and the reason for "
            "it. {question}",
        ),
        fields=("question",),
        needed=("question",),
    ),
    "transcription": Wording(
        (
            "<|audio|> write down what is said.",
            "Transcribe the speech: <|audio|>",
            "<|audio|> What does the speaker say, word for word?",
            "Listen to <|audio|> and type out every word.",
            "Here is a recording: <|audio|> Give its transcript.",
            "<|audio|> Turn this speech into text.",
            "Please put the words spoken in <|audio|> into writing.",
            "What are the words in this recording? <|audio|>",
        ),
        fields=("language",),
    ),
}
"""By task. The paper words neither multiple choice nor transcription: the first templates there are ours."""


def language_name(code: str) -> str:
    """A language's name in English.

    Args:
        code: As in LANGUAGES, or any that `languages.primary` takes, with script or region or without.

    Returns:
        The name; with the variety where a model should write it ("pt-BR", "zh-TW"); the code itself where the name is
        not known.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    language, *parts = primary(code), *code.replace("_", "-").lower().split("-")[1:]
    varieties = (_VARIETIES[language, part] for part in parts if (language, part) in _VARIETIES)
    return next(varieties, _NAMES.get(language, code))


def translation(target_language: str) -> str:
    """The paper's instruction to translate into a language, by its code."""
    return _papers("translation", language=language_name(target_language))


def question(text: str) -> str:
    """The paper's instruction to answer a question about the speech."""
    return _papers("question-answering", question=text)


def _papers(task: str, **fields: str) -> str:
    return WORDINGS[task].templates[0].format(**fields)
