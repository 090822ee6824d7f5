"""What the owner of a virtual camera can choose: one frozen dataclass, read from flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, quote, unquote, urlsplit

from realtime.access import TOKEN_VARIABLE
from realtime.backgrounds import GREEN as GREEN_RGB
from realtime.control import BACKGROUNDS
from realtime.looks import is_background
from realtime.virtualcam.picture import QUIET, colour_of

GREEN = f"#{bytes(GREEN_RGB).hex()}"
LOCAL_SERVER = "http://127.0.0.1:5000"
SMALLEST_PX, LARGEST_PX = 128, 1920
LARGEST_AVATAR_PX = 1024
"""What the renderer makes at most; a larger camera shows it scaled up."""
_NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SIZE = re.compile(r"([0-9]{1,5})(?:x([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Watched:
    """A session of a running server."""

    server: str
    """Such as `http://127.0.0.1:5000`, without a slash at the end."""
    name: str

    @property
    def whep(self) -> str:
        return f"{self.server}/whep/{quote(self.name)}"


@dataclass(frozen=True, slots=True)
class Size:
    """Of the virtual camera's picture, in pixels; both even."""

    width: int
    height: int

    @property
    def avatar(self) -> int:
        """Width and height of the avatar in it."""
        return min(self.width, self.height, LARGEST_AVATAR_PX)


@dataclass(frozen=True, slots=True)
class Options:
    """Where the picture comes from, and what the camera is like."""

    camera: str = "0"
    """A webcam's number, or a video that drives the avatar; not used with `session`."""
    session: Watched | None = None
    """Watch this one; None: do everything here."""
    avatar: str | None = None
    """None: the first that was found, or what the session wears."""
    avatars_dirs: tuple[Path, ...] = ()
    """As the server's."""
    background: str | None = None
    """None: the avatar's own, or what the session has."""
    size: Size = Size(512, 512)
    fps: int = 30
    device: str | None = None
    """Name of the virtual camera; None: the first that is free."""
    mirror: bool = False
    token: str | None = field(default=None, repr=False)
    """Lets the camera in where the session's server lets in only some."""

    @property
    def surround(self) -> tuple[int, int, int]:
        """Y, U, V of what lies beside the avatar, where the camera is wider than high, and behind the card: the plain background, else a quiet dark."""
        name = GREEN if self.background == "green" else self.background
        return colour_of(name) if name is not None and name.startswith("#") else QUIET


def read_options(arguments: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})) -> Options:
    """Ends the process with code 2, and a clear line on stderr, where something given cannot be used.

    Args:
        environment: where the token may be, beside a file.
    """
    parser = make_parser()
    given = parser.parse_args(arguments)
    if given.session is not None and given.camera is not None:
        parser.error("--camera and --session: give one of them; a session has its own camera")
    if given.session is not None and given.avatars_dir:
        parser.error("--avatars-dir: belongs to --camera; a session wears what its server has")
    return Options(
        camera=given.camera or Options().camera,
        session=given.session,
        avatar=given.avatar,
        avatars_dirs=tuple(given.avatars_dir or ()),
        background=given.background,
        size=given.size,
        fps=given.fps,
        device=given.device,
        mirror=given.mirror,
        token=given.token_file or environment.get(TOKEN_VARIABLE, "").strip() or None,
    )


def make_parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m realtime.virtualcam", allow_abbrev=False, description="Shows the avatar as a camera that Zoom, Meet, Teams, Discord and others can use."
    )
    parser.add_argument("--camera", metavar="N", help="number of the webcam, or a video file that drives the avatar instead (default: 0)")
    parser.add_argument("--session", metavar="LINK", type=read_session, help="show a session of a running server instead: its name, or a link of it")
    parser.add_argument("--token-file", metavar="FILE", type=_token, help=f"file with the token for that server (or the variable {TOKEN_VARIABLE})")
    parser.add_argument("--avatar", metavar="ID", help="who is shown (default: the first, or the session's)")
    parser.add_argument("--avatars-dir", metavar="FOLDER", type=_folder, action="append", help="folder with more avatar files or training runs, repeatable")
    parser.add_argument("--background", metavar="NAME", type=_background, help=f"{', '.join(BACKGROUNDS)} or #rrggbb (default: the avatar's, or the session's)")
    parser.add_argument("--size", metavar="PIXELS", type=_size, default=defaults.size, help="of the camera's picture: 512, or 1280x720 (default: 512)")
    parser.add_argument("--fps", metavar="N", type=_fps, default=defaults.fps, help="pictures a second (default: 30)")
    parser.add_argument("--device", metavar="NAME", help="which virtual camera: /dev/video10, 'OBS Virtual Camera', 'Unity Video Capture' (default: the first)")
    parser.add_argument("--mirror", action="store_true", help="flip the picture, as in a mirror")
    return parser


def read_session(text: str) -> Watched:
    """A session's name, or any link of it that the pages show: …/obs/NAME, …/whep/NAME, …?session=NAME.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    expected = argparse.ArgumentTypeError(f"expected a session's name (8 to 64 letters, digits, - and _) or a link such as {LOCAL_SERVER}/obs/NAME")
    if _NAME.fullmatch(text):
        return Watched(LOCAL_SERVER, text)
    link = urlsplit(text)
    if link.scheme not in ("http", "https") or not link.netloc or "@" in link.netloc:
        raise expected
    folders, _, last = link.path.rpartition("/")
    named = parse_qs(link.query).get("session", [""])[0]
    if not named and folders.endswith(("/obs", "/whep")):
        folders, named = folders.rpartition("/")[0], unquote(last)
    if not _NAME.fullmatch(named):
        raise expected
    return Watched(f"{link.scheme}://{link.netloc}{folders}", named)


def _token(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        raise argparse.ArgumentTypeError(f"expected a text file with a token, got {path!r}") from None
    if not re.fullmatch(r"[!-~]+", text):
        raise argparse.ArgumentTypeError("expected a token in that file and nothing else")
    return text


def _background(text: str) -> str:
    if not is_background(text):
        raise argparse.ArgumentTypeError(f"expected {', '.join(BACKGROUNDS)} or #rrggbb, got {text!r}")
    return text


def _size(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    width = int(match[1]) if match else 0
    height = int(match[2] or match[1]) if match else 0
    if not all(SMALLEST_PX <= side <= LARGEST_PX and side % 2 == 0 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"expected N or WIDTHxHEIGHT, even numbers from {SMALLEST_PX} to {LARGEST_PX}, got {text!r}")
    return Size(width, height)


def _fps(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 60:
        raise argparse.ArgumentTypeError(f"expected an integer from 1 to 60, got {text!r}")
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}")
    return Path(text)
