"""References of container images: `registry:5000/path/name:tag@sha256:…`, as distribution's grammar has them.

distribution/reference 0.6.0, reference.go and normalize.go (splitDockerDomain): a path is lower case, a first part
with a dot, a port or an upper case letter is a registry. What breaks the grammar is no image yet: a placeholder, or
a variable that somebody fills in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Image, Unknown

if TYPE_CHECKING:
    from vramguard.source import Location

_LONGEST = 1000  # characters; a reference has at most 255, a tag and a digest
_SCHEME = re.compile(
    r"(?:docker|docker-image|docker-daemon|oci|containers-storage)://|docker:(?=[a-z][\w.-]{0,100}[/:])"
)
# What a renderer, a shell or CI fills in. Each ends at its own closing mark, and none holds another.
VARIABLE = re.compile(
    r"\$?\{\{[^{}]{0,500}\}\}|\$\{[^{}]{0,500}\}|\$\([^()]{0,500}\)|\$[A-Za-z_]\w{0,100}|\{%[^%]{0,500}%\}|"
    r"<%[^%]{0,500}%>|<<[^<>]{0,200}>>|<[^<>]{1,200}>|%[A-Za-z_]\w{0,100}%|__[A-Z_]{2,60}__|\{[A-Za-z_][\w.]{0,60}\}"
)
_DEFAULT = re.compile(r"\$\{\w{1,100}:?-([^{}]{0,300})\}")  # what holds where nobody sets the variable
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62}){0,20}(?::[0-9]{1,5})?/)?"
_PATH = r"[a-z0-9]+(?:(?:\.|__?|-{1,10})[a-z0-9]+){0,60}"
_NAME = re.compile(rf"({_DOMAIN})({_PATH}(?:/{_PATH}){{0,20}})")
_TAG = re.compile(r"(?![A-Z][A-Z_]+\Z)\w[\w.-]{0,127}", re.ASCII)  # IMAGE_TAG is nobody's tag
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_ROUNDS = 4  # of defaults within defaults
_FILLER = "x"  # stands for what fills a variable in, where a reference is taken apart

NO_TAG = "without a tag or a digest it is `latest`, whatever that is when it is pulled"
CHART_TAG = "no tag stands beside it, so the chart's own version of it is taken: a tag, and no digest"
_NO_NAME = "it is no image's name yet: something else has to fill it in"
_VARIABLE = "what fills it in is not said here"
_WRONG_ORDER = "a tag stands before the `@` of a digest, not behind it"
_NO_DIGEST = "its digest is no full sha256"
_MOVES = "the tag `{tag}` moves to each new build"
_LOOSE = "the tag `{tag}` names no one release: another build may take it over"
_MOVABLE = "the tag `{tag}` can be moved to another build: only a digest names one"

# A tag that names one release, as far as its words go: 1.2.3, v0.6, 24.08-py3 of NGC, a date, a commit.
_RELEASE = re.compile(
    r"(?<![0-9])[0-9]+\.[0-9]+\.[0-9]+|(?<![0-9])[0-9]{2}\.[0-9]{2}(?![0-9.])|(?<![0-9])20[0-9]{2}-?[01][0-9]-?[0-3][0-9]"
    r"|(?<![0-9a-z])(?=[0-9a-f]{0,39}[0-9])[0-9a-f]{7,40}(?![0-9a-z])|^v?[0-9]+\.[0-9]+(?:\.[0-9]+)*[-_.]?(?:post|rc|a|b)?[0-9]*$"
)
_MOVING = re.compile(
    r"(?:^|[-_.])(latest|main|master|trunk|develop(?:ment)?|dev|devel|nightly|edge|canary|stable|unstable|current|"
    r"lts|head|tip|preview|staging|prod(?:uction)?|release)(?=$|[-_.])",
    re.IGNORECASE,
)
_FLAVOUR = re.compile(r"devel|lts|release|stable", re.IGNORECASE)  # beside a release: 25.10-cuda13.0-devel-ubuntu24.04


class Reference(NamedTuple):
    """A reference taken apart. `moving`: its tag, or that it has none, names no one release."""

    name: str
    tag: str | Unknown | None
    digest: str | Unknown | None
    pinned: bool | Unknown
    reason: str = ""


def is_moving(tag: str | Unknown | None) -> bool:
    """Whether a tag is one of those that move with every build, or too short to name one; so is no tag at all."""
    if not isinstance(tag, str):
        return tag is None
    if _RELEASE.search(tag) is None:
        return True
    return any(_FLAVOUR.fullmatch(word[1]) is None for word in _MOVING.finditer(tag)) and _DATED.search(tag) is None


_DATED = re.compile(r"20[0-9]{6}|(?<![0-9a-z])(?=[0-9a-f]{0,39}[0-9])[0-9a-f]{7,40}(?![0-9a-z])|[0-9]+\.[0-9]+\.[0-9]+")


def with_defaults(text: str) -> str:
    """A text whose variables have their defaults, those within defaults first."""
    for _ in range(_ROUNDS):
        if "-" not in text or "${" not in text:
            break
        text = _DEFAULT.sub(lambda match: match[1], text)
    return text


def reference(text: str) -> Reference | None:
    """A text as a reference; None for one that is empty, has blanks inside, or is too long to be one."""
    written = text.strip()
    if len(written) > _LONGEST:
        return None
    bare = with_defaults(written)
    bare = _SCHEME.sub("", bare, count=1) if _SCHEME.match(bare) else bare
    masked = VARIABLE.sub(lambda match: _FILLER * len(match[0]), bare)
    if any(map(str.isspace, masked)) or not any(map(str.isalpha, masked)):
        return None
    named, at, _ = masked.partition("@")
    cut = named.rfind(":")
    cut = cut if cut > named.rfind("/") else -1
    name = bare[:cut] if cut >= 0 else bare[: len(named)]
    tag = bare[cut + 1 : len(named)] if cut >= 0 else None
    digest = bare[len(named) + 1 :] if at else None
    shape = _shape(masked, cut, len(named))
    return _judged(written, name, _value(tag), _value(digest), shape)


def _shape(masked: str, cut: int, end: int) -> bool:
    """Whether name and tag keep the grammar, whatever their variables become."""
    name = masked[:cut] if cut >= 0 else masked[:end]
    match = _NAME.fullmatch(name)
    if match is None or (cut >= 0 and not _TAG.fullmatch(masked[cut + 1 : end])):
        return False
    return not (match[1] and match[1].isupper() and "." not in match[1])  # REGISTRY/name, which nobody has


def _value(part: str | None) -> str | Unknown | None:
    return Unknown(part) if part is not None and VARIABLE.search(part) else part


def _judged(
    written: str,
    name: str,
    tag: str | Unknown | None,
    digest: str | Unknown | None,
    shape: bool,  # noqa: FBT001
) -> Reference:
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        return Reference(name, tag, digest, pinned=True)
    if isinstance(digest, str):
        late = _DIGEST.match(digest) and ":" in digest[digest.index(":") + 1 :]
        return Reference(name, tag, digest, pinned=False, reason=_WRONG_ORDER if late else _NO_DIGEST)
    if isinstance(digest, Unknown) or isinstance(tag, Unknown) or VARIABLE.search(name):
        return Reference(name, tag, digest, Unknown(written), _VARIABLE)
    if not shape:
        return Reference(name, tag, digest, Unknown(written), _NO_NAME)
    return Reference(name, tag, None, pinned=False, reason=_why(tag))


def _why(tag: str | None) -> str:
    if tag is None:
        return NO_TAG
    if not is_moving(tag):
        return _MOVABLE.format(tag=tag)
    return (_MOVES if _MOVING.search(tag) else _LOOSE).format(tag=tag)


def image(text: str, at: Location, form: str, use: str, *, certain: bool = True, behind: str = "") -> Image | None:
    """The image that a text names; None for what is none.

    `certain`: nothing but an image can stand there. Elsewhere a text counts only with a tag, a digest or a path, and
    not with what its own words leave open. `behind`: the comment behind it.
    """
    found = reference(text)
    if found is None:
        return None
    if not certain and (isinstance(found.pinned, Unknown) or not _looks(found)):
        return None
    return Image(at, form, found.name, found.tag, found.digest, found.pinned, found.reason, use, behind)


_FILE = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp|tiff?|ico|iso|img|qcow2|ya?ml|json|py|txt|md|sif|tar|gz)\Z", re.I)


def is_file(name: str) -> bool:
    """Whether a name is a file's, by its ending."""
    return _FILE.search(name) is not None


def _looks(found: Reference) -> bool:
    """Whether a text is an image by its looks: it has a tag or a digest, or is a path at a registry."""
    if found.tag is None and is_file(found.name):
        return False
    registry, slash, _ = found.name.partition("/")
    return found.tag is not None or found.digest is not None or bool(slash and "." in registry.strip("."))
