"""Changes of a file that an accident, or somebody with bad intent, could make."""

from random import Random
from typing import Callable, List

TOKENS: List[bytes] = [
    *(b"", b"-1", b"0", b"9" * 30, b"9" * 5000, b"1e999", b"NaN", b"Infinity", b"-0.0", b"1_0", b"0x10", b"+7"),
    *("٣".encode(), "²".encode(), "\u2028".encode(), b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\0", b"\r", b"\x0c"),
    *(b"\t", b"\n", b"\n\n", b" ", b"|", b"#", b"# ", b":", b",", b'"', b"'", b"\\", b"\\ud800", b"\\u0000"),
    *(b"[" * 3000, b"{" * 300, b'{"a":' * 1500, b"(" * 300, b"[]", b"{}", b"null", b"true", b'""', b"a" * 300),
    *(b"../../../etc/passwd", b"/etc/passwd", b"/dev/zero", b"file://x", b"<unk>", b"</s>", b"<u0>", b"<sep>"),
    *(b"!!python/object/apply:os.system [x]", b"&a [*a]", b"\x80\x04c", b"cposix\nsystem\n", b"PK\x03\x04"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\0\0\0\0", b"\0" * 64),
    *(b"id", b"units", b"text", b"path", b"nan", b"T-0\t", b"H-0\t", b"D-7\t-inf\t"),
]
"""What is put somewhere: numbers that are none, odd white space, deep nesting, paths, pickles, sizes."""


def mutated(content: bytes, rng: Random, tokens: List[bytes] = TOKENS) -> bytes:
    """A file's bytes with one to four changes."""
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(CHANGES)(content, rng, tokens)
    return content


def _place(content: bytes, rng: Random) -> int:
    return rng.randrange(len(content) + 1)


def _span(content: bytes, rng: Random) -> slice:
    start = _place(content, rng)
    return slice(start, start + 1 + int(rng.expovariate(0.1)))


def _flip(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _noise(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + rng.randbytes(span.stop - span.start) + content[span.stop :]


def _remove(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + content[span.stop :]


def _cut(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    return content[: _place(content, rng)]


def _repeat(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    span = _span(content, rng)
    return content[: span.stop] + content[span] * rng.randint(1, 4) + content[span.stop :]


def _insert(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.choice(tokens) + content[place:]


def _replace_a_word(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(tokens)
    return b" ".join(words)


def _replace_a_field(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    lines = content.split(b"\n")
    number = rng.randrange(len(lines))
    fields = lines[number].split(b"\t")
    fields[rng.randrange(len(fields))] = rng.choice(tokens)
    lines[number] = b"\t".join(fields)
    return b"\n".join(lines)


def _move_a_line(content: bytes, rng: Random, tokens: List[bytes]) -> bytes:
    lines = content.split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


CHANGES: List[Callable[[bytes, Random, List[bytes]], bytes]] = [
    *(_flip, _noise, _remove, _cut, _repeat, _insert, _replace_a_word, _replace_a_field, _move_a_line)
]
