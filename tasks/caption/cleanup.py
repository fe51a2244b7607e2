"""From what a captioning model says to what a trainer should read."""

import re

OPEN, CLOSE = "\"'“‘", "\"'”’"
# BLIP claims to read lettering, and reads it wrong: “a sign with the words ' ray ban ' on it”. Without closing quote
# the claim runs to the end. A quote followed by s is an apostrophe.
LETTERING = re.compile(
    rf"""
    \s*,?\s*\b
    (?: (?: with | and | has | having | that\ has ) \s+ (?: the | a )? \s* (?: words? | text | letters? | caption )
      | (?: that | which ) \s+ (?: says | reads )
      | (?: saying | reading ) (?= \s* [{OPEN}] )
    ) \b
    (?: \s* [{OPEN}] .*? (?: [{CLOSE}] (?! \s?s\b ) | $ )
        (?: \s* (?: written | printed )? \s* \b (?: on | in | above | below | under ) \s+ (?: it | them ) \b )?
      | .* $
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
# “arafed” is no word: the large BLIP begins captions with it.
INVENTED = re.compile(r"\baraf+\w*\s*", re.IGNORECASE)
# A word-piece tokenizer parts what a hyphen joins: “a t - shirt”.
PARTED = re.compile(r"(?<=\w) - (?=\w)")
STUTTER = re.compile(r"\b(\w+(?: \w+){0,3})(?: \1\b)+", re.IGNORECASE)
DANGLING = re.compile(r"(?:\s*(?:,|\b(?:and|with|that|which|of|the|a|an|on|in)))+\s*$", re.IGNORECASE)


def clean(raw: str, prompt_prefix: str = "") -> str:
    """The caption without prompt prefix, claims about lettering, invented words and stutter; single spaces."""
    text = " ".join(raw.split())
    prefix = " ".join(prompt_prefix.split())
    if prefix and text.lower().startswith(prefix.lower()):
        text = text[len(prefix) :]
    without = LETTERING.sub(" ", text)
    if without != text:
        text = DANGLING.sub("", " ".join(without.split()))
    text = " ".join(INVENTED.sub("", text).split())
    text = STUTTER.sub(r"\1", PARTED.sub("-", text))
    return text.strip(" ,.")


def flaw(text: str) -> str | None:
    """Why a cleaned caption is no use for training, or None."""
    if not text:
        return "empty caption"
    if len(text.split()) < 2:
        return f"caption “{text}” has fewer than two words"
    return None
