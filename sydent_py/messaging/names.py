"""Names that strangers chose, made harmless: nothing hides in them, and no mail client makes a link of them."""

import re
import unicodedata

# Nobody shows more of a name, and a megabyte of it would cost a second.
_MOST_READ = 1024
# Enough for every script in use; with more, the marks of one line cover the lines around it.
_MOST_MARKS = 3

# White space, and what looks like it: the Hangul fillers and the Braille cell without dots.
_BLANK = re.compile(r"[\s\u115f\u1160\u2800\u3164\uffa0]+")
# Control, format (zero width, bidi, tags), surrogate, private use, and what this Python's Unicode does not know.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Marks without a shape of their own, but for the two that choose between a letter and an emoji.
_SHAPELESS = re.compile(r"[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0d\U000e0100-\U000e01ef]")
_FLAG_LETTERS = "\U0001f1e6-\U0001f1ff"
_FLAG_LETTERS_AT_END = re.compile(rf"[{_FLAG_LETTERS}]+\Z")
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"

# What mail clients make links of in plain text, and what becomes of it. Each replacement can be read as what stood there
# and is known to no client as a part of a link; a middle dot, unlike a one dot leader or a zero-width space, is not turned
# back into the dot of a domain by a browser into which somebody pastes it.
#   someone@example.org, @someone:example.org       someone(at)example·org, (at)someone: example·org
#   https://example.org/x, //example.org            https: /example·org/x, /example·org
#   \\example.org\share (Outlook)                   /example·org\share
#   mailto:x, tel:x, matrix:x                       mailto: x, tel: x, matrix: x
#   example.org, www.example.org, 192.0.2.1         example·org, www·example·org, 192·0·2·1
#   +1 800 555-0100, 18005550100                    +1 · 800 · 555·0100, 1800·5550·100
_AT = re.compile(r"(?<=\S)[@\ufe6b\uff20]|[@\ufe6b\uff20](?=\S)")
_SLASHES = re.compile(r"[/\\]{2,}")
# Not in a time of day or before a smile.
_COLON = re.compile(r"(?<=[^\s:]):+(?=[^\s\d:()])|(?<=[^\s\d:]):+(?=\d)")
# Every one after "www"; elsewhere a full stop alone, and what IDNA reads as one.
_OTHER_DOTS = "\u2024\u3002\ufe52\uff0e\uff61"
_BEGINS_LABEL = r"(?=[^\s!-/:-@\[-`{-~])"
_DOT = re.compile(
    rf"(?<=www)[.{_OTHER_DOTS}]+(?=\S)|(?<=[^\s.])\.{_BEGINS_LABEL}|(?<=\S)[{_OTHER_DOTS}]{_BEGINS_LABEL}", re.IGNORECASE
)
# Seven digits or more, with what may stand between the digits of a phone number.
_PHONE = re.compile(r"\d(?:[\s()\[\]./~·\u2010-\u2015\u2212\uff08\uff09\uff0d\uff0f-]{0,4}\d){6,}")
_BETWEEN_DIGITS = re.compile(r"\D+")
_FOUR_DIGITS = re.compile(r"\d{4}(?=\d)")
_LOOSE_AT_END = f" ·:@\ufe6b\uff20/\\(-.{_OTHER_DOTS}"

# Matrix IDs as they are made today. Their domains may become links, as those of email addresses do; paths cannot.
_TAME_ID = re.compile(r"[@#](?!www\.)[a-z0-9._=+-]+:[A-Za-z0-9.:\[\]-]+", re.ASCII)


def neutral(text: str, most_characters: int) -> str:
    """The name ``text`` as it may be shown in a mail: one line of visible characters, at most so many, nothing to click.

    ``""`` if nothing of it can be shown. ``most_characters`` is at least 1. HTML has to be escaped all the same.
    """
    spaced = _BLANK.sub(" ", text[:_MOST_READ])
    visible = "".join(character for character in spaced if unicodedata.category(character) not in _HIDDEN)
    name = _without_stacks(unicodedata.normalize("NFC", _SHAPELESS.sub("", visible)))
    return _shortened(_without_links(_BLANK.sub(" ", name).strip()), most_characters)


def unlinked(matrix_id: str) -> str:
    """A Matrix ID for plain text: exactly as it is, unless it holds more than IDs have today."""
    return matrix_id if _TAME_ID.fullmatch(matrix_id) else neutral(matrix_id, _MOST_READ)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _without_stacks(text: str) -> str:
    """``text`` with few marks on each character, and none on a space or on what stands before the name."""
    kept: list[str] = []
    room = 0
    for character in text:
        room = room - 1 if _is_mark(character) else _MOST_MARKS * (character != " ")
        if room >= 0 and (kept or not _is_mark(character)):
            kept.append(character)
    return "".join(kept)


def _without_links(text: str) -> str:
    text = _AT.sub("(at)", text)
    text = _SLASHES.sub("/", text)
    text = _COLON.sub(r"\g<0> ", text)
    text = _DOT.sub("·", text)
    return _PHONE.sub(_in_groups, text)


def _in_groups(phone: re.Match[str]) -> str:
    apart = _BETWEEN_DIGITS.sub(lambda between: " · " if " " in between[0] else "·", phone[0])
    return _FOUR_DIGITS.sub(r"\g<0>·", apart)


def _shortened(text: str, most_characters: int) -> str:
    if len(text) <= most_characters:
        return text
    end = most_characters - 1
    while end and _belongs_together(text, end):
        end -= 1
    return text[:end].rstrip(_LOOSE_AT_END) + "…"


def _belongs_together(text: str, end: int) -> bool:
    """Whether a cut at ``end`` would part a character from its mark, a skin tone from its emoji, or the letters of a flag."""
    if _is_mark(text[end]) or text[end] in _SKIN_TONES:
        return True
    letters = _FLAG_LETTERS_AT_END.search(text[:end])
    return letters is not None and len(letters[0]) % 2 == 1 and _FLAG_LETTERS_AT_END.match(text[end]) is not None
