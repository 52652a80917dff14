"""Letter-to-sound rules for English words that no dictionary holds (names, coinages).

An ordered rule system in the manner of Elovitz et al. (1976, "Letter-to-sound rules for automatic
translation of English text to phonetics", NRL report 7948), much smaller and written for this
project: at each position the longest grapheme whose context fits gives its phones. Good enough to
    place an unknown word in time; the dictionary comes first. `docs/speech.md` has its phone error
    rate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VOWEL = "aeiouy"
_SOFT = "eiy"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        graphemes: the letters that it consumes.
        phones: what they sound like.
        before: what stands to the left (a regular expression that ends there), or empty.
        after: what follows (a regular expression that starts there), or empty.
    """

    graphemes: str
    phones: tuple[str, ...]
    before: str = ""
    after: str = ""


def _rules(table: str) -> tuple[Rule, ...]:
    """Parse lines ``graphemes = PHONES [; before ; after]``; longest graphemes come first."""
    rules = []
    for line in table.strip().splitlines():
        body, *contexts = (part.strip() for part in line.split(";"))
        graphemes, phones = (part.strip() for part in body.split("="))
        before, after = contexts or ("", "")
        rules.append(Rule(graphemes, tuple(phones.split()), before, after))
    return tuple(sorted(rules, key=lambda rule: -len(rule.graphemes)))


_MAGIC_E = r"[bcdfgklmnprstvz]e(s|d)?$"
_RULES = _rules(
    rf"""
    eaux = OW
    tion = SH AH N
    sion = ZH AH N ; [aeiou]$ ;
    sion = SH AH N
    cian = SH AH N
    cious = SH AH S
    tious = SH AH S
    ture = CH ER ; ; s?$
    augh = AO
    ough = AO ; ; t
    ough = OW
    eigh = EY
    igh = AY
    tch = CH
    dge = JH
    sch = S K
    chr = K R
    que = K ; ; s?$
    gue = G ; ; s?$
    ous = AH S ; ; $
    ing = IH NG ; ; s?$
    ies = IY Z ; ..$ ; $
    ied = IY D ; ..$ ; $
    eau = OW
    oor = AO R
    air = EH R
    ear = IH R
    eer = IH R
    our = AO R
    ire = AY ER ; ; s?$
    ure = Y UH R ; ; s?$
    are = EH R ; ; s?$
    ore = AO R ; ; s?$
    ere = IH R ; ; s?$
    ia = IY AH
    io = IY OW
    iu = IY AH
    ph = F
    sh = SH
    ch = CH
    th = TH
    wh = W
    ck = K
    qu = K W
    kn = N ; ^$ ;
    gn = N ; ^$ ;
    gn = N ; ; $
    wr = R ; ^$ ;
    ps = S ; ^$ ;
    pn = N ; ^$ ;
    rh = R
    gh = G ; ^$ ;
    gh =
    ng = NG ; ; $
    ng = NG G ; ; [aou]
    ng = N JH ; ; [{_SOFT}]
    ng = NG
    nk = NG K
    nx = NG K S
    mb = M ; ; s?$
    mn = M ; ; $
    sc = S ; ; [{_SOFT}]
    cc = K S ; ; [{_SOFT}]
    dd = D
    ll = L
    ee = IY
    ea = IY
    oo = UW
    oa = OW
    oi = OY
    oy = OY
    ou = AW
    ow = OW ; ; $
    ow = AW
    au = AO
    aw = AO
    ai = EY
    ay = EY
    ei = AY
    ey = IY ; ; s?$
    ey = EY
    eu = Y UW
    ew = UW
    ie = IY
    ui = UW
    ue = UW ; ; s?$
    ae = EY
    oe = OW
    ar = AA R
    er = ER
    ir = ER
    or = AO R
    ur = ER
    le = AH L ; [bcdfgkpstz]$ ; s?$
    re = ER ; [bcdfgkpt]$ ; s?$
    es = IH Z ; (s|x|z|ch|sh|c|g)$ ; $
    es = Z ; [bdglmnrvw]$ ; $
    es = S ; [fkpt]$ ; $
    ed = IH D ; [td]$ ; $
    ed = T ; [kpsfxc]$ ; $
    ed = T ; (ch|sh)$ ; $
    ed = D ; ..$ ; $
    al = AH L ; ..$ ; $
    an = AH N ; ..$ ; $
    en = AH N ; ..$ ; $
    on = AH N ; ..$ ; $
    as = AH S ; ..$ ; $
    is = IH S ; ..$ ; $
    us = AH S ; ..$ ; $
    os = OW S ; ..$ ; $
    a = EY ; ; {_MAGIC_E}
    a = EY ; ; [bcdfgklmnprstvz]i[oa]
    a = AA ; w$ ; [tns]
    a = AH ; ^$ ; [^aeiouy][^aeiouy]?[aeiouy]
    a = AH ; ; $
    a = AE
    e = IY ; ^.$ ; $
    e = ; [aeiouy].*$ ; $
    e = IY ; ; $
    e = IY ; ; [bcdfgklmnprstvz](e|a|ia|io)
    e = EH
    i = AY ; ; {_MAGIC_E}
    i = AY ; ; nd$
    i = IY ; ; $
    i = IY ; ; [aou]
    i = IH
    o = OW ; ; {_MAGIC_E}
    o = OW ; ; $
    o = OW ; ; ld
    o = OW ; ; [bcdfgklmnprstvz](ia|io|a|o|i)
    o = AA
    u = Y UW ; ^$ ; [^aeiouy][aeiouy]
    u = Y UW ; [bcfhkmp]$ ; [^aeiouyr][aeiou]
    u = UW ; ; [^aeiouyr][aeiou]
    u = UW ; ; $
    u = W ; [gs]$ ; [aeio]
    u = AH
    y = Y ; ^$ ;
    y = AY ; ^[^aeiouy]+$ ; $
    y = AY ; ; {_MAGIC_E}
    y = IY ; ; $
    y = Y ; [aeiou]$ ; [aeiou]
    y = IH
    b = B
    c = S ; ; [{_SOFT}]
    c = K
    d = D
    f = F
    g = JH ; ; (e|y|i[aenos])
    g = G
    h = ; [aeiou]$ ; ([^aeiouy]|$)
    h = HH
    j = JH
    k = K
    l = L
    m = M
    n = N
    p = P
    q = K
    r = R
    s = Z ; [aeiou]$ ; [aeiou]
    s = Z ; [bdglmnrv]$ ; $
    s = S
    t = CH ; ; ur
    t = T
    v = V
    w =  ; [aeiou]$ ; ([^aeiouy]|$)
    w = W
    x = Z ; ^$ ;
    x = K S
    z = Z
    """
)
_COMPILED = tuple((rule, re.compile(rule.before or "$"), re.compile(rule.after)) for rule in _RULES)
_BY_LETTER: dict[str, tuple[tuple[Rule, re.Pattern[str] | None, re.Pattern[str]], ...]] = {
    letter: tuple(
        (rule, before if rule.before else None, after)
        for rule, before, after in _COMPILED
        if rule.graphemes[0] == letter
    )
    for letter in "abcdefghijklmnopqrstuvwxyz"
}

LETTER_NAMES: dict[str, tuple[str, ...]] = {
    "a": ("EY",), "b": ("B", "IY"), "c": ("S", "IY"), "d": ("D", "IY"), "e": ("IY",),
    "f": ("EH", "F"), "g": ("JH", "IY"), "h": ("EY", "CH"), "i": ("AY",), "j": ("JH", "EY"),
    "k": ("K", "EY"), "l": ("EH", "L"), "m": ("EH", "M"), "n": ("EH", "N"), "o": ("OW",),
    "p": ("P", "IY"), "q": ("K", "Y", "UW"), "r": ("AA", "R"), "s": ("EH", "S"),
    "t": ("T", "IY"), "u": ("Y", "UW"), "v": ("V", "IY"),
    "w": ("D", "AH", "B", "AH", "L", "Y", "UW"), "x": ("EH", "K", "S"), "y": ("W", "AY"),
    "z": ("Z", "IY"),
}  # fmt: skip


def sounds(word: str) -> tuple[str, ...]:
    """Phones of a word by the rules; empty where it holds no Latin letter.

    A doubled consonant sounds once. The result depends on the spelling alone.

    Args:
        word: lower case.
    """
    letters = "".join(char for char in word if char in _BY_LETTER)
    letters = re.sub(rf"([^{_VOWEL}c])\1", r"\1", letters)
    phones: list[str] = []
    position = 0
    while position < len(letters):
        left, right = letters[:position], letters[position:]
        for rule, before, after in _BY_LETTER[letters[position]]:
            rest = right[len(rule.graphemes) :]
            if not right.startswith(rule.graphemes) or not after.match(rest):
                continue
            if before is not None and not re.search(rule.before, left):
                continue
            phones += rule.phones
            position += len(rule.graphemes)
            break
        else:
            raise AssertionError(
                f"no rule for {letters[position]!r}"
            )  # each letter has a plain rule
    return tuple(phones)


def spelt(word: str) -> tuple[str, ...]:
    """Phones of a word read letter by letter: ``tts`` -> T IY T IY EH S."""
    return tuple(phone for letter in word for phone in LETTER_NAMES.get(letter, ()))
