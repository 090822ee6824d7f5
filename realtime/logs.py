"""Log lines, as text or as one JSON object each, and the last line of defence: what looks like a secret, an address or an SDP is hidden whoever wrote it.

Nothing of ours logs such things; this is for libraries, for tracebacks and for the mistake that somebody will make.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from realtime.config import LogFormat, ServerConfig

HIDDEN = "[hidden]"
MAX_CHARACTERS = 20_000
"""Of a line; what is more is cut off."""
QUIET_LIBRARIES = ("aioice", "aiortc")
"""At INFO they tell addresses, at DEBUG all that is negotiated."""
RUN_CHARACTERS = 4
"""What a word, a number or an acronym has on the average at least; of 22 random characters one in 1,500 looks so wordy."""
_LINE_END = r"(?:\\r\\n|\\n|\r?\n)"
_REST = r"[^\r\n'\"\\]*"
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"\bv=0(?:{_LINE_END}[a-z]={_REST})*", "[SDP]"),
        (rf"\ba=(?:candidate|crypto|fingerprint|ice-|rtcp|ssrc|msid|setup|mid){_REST}", "[SDP]"),
        (rf"\b[oc]=(?:\S{{1,64}} ){{0,3}}IN IP[46]{_REST}", "[SDP]"),
        (rf"\bcandidate:\S{{1,64}} \d{{1,5}} \w{{1,8}} \d{{1,12}}{_REST}", "[candidate]"),
        (r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)\b(['\"]?\s*[:=,]\s*)[^\r\n]*", rf"\1\2{HIDDEN}"),
        (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+", rf"\1 {HIDDEN}"),
        (r"(?i)\b([\w-]{0,16}(?:token|passw(?:or)?d|secret|credential|ufrag|pwd|session_id|key))(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;)}]+", rf"\1\2{HIDDEN}"),
        (r"(?i)([?&]session=)[^\s&'\"]+", rf"\1{HIDDEN}"),
        (r"(/(?:sessions|obs|whep|whip|studio/uploads|studio/jobs)/)[^\s/?#'\"]+", rf"\1{HIDDEN}"),
        (r"\b((?:turns?|stuns?|https?):(?://)?)[^\s/@'\"]+@", rf"\1{HIDDEN}@"),
        (r"(?<![\w+/])[\w+/]{16,}={1,2}", HIDDEN),
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local\b", "[address]"),
    )
)
_LONG = re.compile(r"[A-Za-z0-9_-]{20,}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_ADDRESS = re.compile(
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w)"
    r"|(?<![\w.:])[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?<![:.])(?![\w:])"
    r"|(?<![\w.:])[0-9A-Fa-f]+::(?![\w:])"
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Redactor:
    """Args: secrets that are known to the word, beside what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """The text without what nobody should read in a log."""
        text = text[:MAX_CHARACTERS]
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return _ADDRESS.sub(_without_address, _LONG.sub(_without_identifier, text))


def _without_identifier(match: re.Match[str]) -> str:
    """Identifiers are random: many short runs of capitals, letters and digits, where names have words."""
    found = match[0]
    random = len(_RUN.findall(found)) * RUN_CHARACTERS >= len(found)
    return HIDDEN if random or _HEX.search(found) else found


def _without_address(match: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return match[0]
    return match[0] if address.is_loopback or address.is_unspecified else "[address]"


def one_line(text: str) -> str:
    """With control characters written out: a message cannot pass for two, nor speak to a terminal."""
    return _CONTROL.sub(lambda match: _ESCAPES.get(match[0]) or f"\\x{ord(match[0]):02x}", text)


class TextLines(logging.Formatter):
    """`time level logger: message`, and a traceback below it where there is one."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {one_line(record.getMessage())}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._redactor.clean(line)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message; session (the tag that logs call it by) and exception where there are any."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redactor.clean(record.getMessage()),
        }
        session = getattr(record, "session", None)
        if session is not None:
            said["session"] = str(session)
        if record.exc_info:
            said["exception"] = self._redactor.clean(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line is worth one. aiohttp has a traceback for each request that is no HTTP, and for each file that a client asked for and did not wait for;
    whoever sends many would fill the disk with them."""
    kind, error = record.exc_info[:2] if record.exc_info else (None, None)
    gone = kind is RuntimeError and str(error) == "Transport is closing"
    return not gone and (kind is None or kind.__module__ != "aiohttp.http_exceptions")


def set_up_logging(config: ServerConfig) -> None:
    """Everything that is logged goes to stderr, in the form that was asked for; replaces what was set up before."""
    known = [config.turn_secret, *(server.credential for server in config.ice_servers)]
    redactor = Redactor(secret for secret in known if secret is not None)
    handler = logging.StreamHandler()
    handler.addFilter(_is_news)
    handler.setFormatter(JsonLines(redactor) if config.log_format is LogFormat.JSON else TextLines(redactor))
    logging.basicConfig(level=logging.INFO if config.verbose else logging.WARNING, handlers=[handler], force=True)
    for library in QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
