"""The server's configuration: one frozen dataclass; realtime/flags.py reads it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from realtime.packets import DriveMode

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", ""})


class Codec(StrEnum):
    """Which video codecs may be negotiated."""

    AUTO = "auto"
    """VP8 and H.264, the better one for this machine first."""
    VP8 = "vp8"
    H264 = "h264"


class Encoder(StrEnum):
    """What encodes the video that is sent back."""

    AUTO = "auto"
    """NVENC where it works, else x264; VP8 where the peer takes no H.264."""
    VP8 = "vp8"
    X264 = "x264"
    NVENC = "nvenc"


class LockPolicy(StrEnum):
    """Which avatars are driven by nobody but the person whom they show; synthetic people are nobody."""

    OFF = "off"
    """None."""
    CONSENTED = "consented"
    """Those whose consent record asks for it."""
    ALL = "all"
    """All."""


class VmcShapes(StrEnum):
    """What the face is told in to a VMC receiver."""

    ARKIT = "arkit"
    """ARKit's 52 shapes, for models with "perfect sync"."""
    VRM = "vrm"
    """Vowels and blinks, which every VRM model has."""


class LogFormat(StrEnum):
    """What a log line is."""

    TEXT = "text"
    JSON = "json"
    """An object: time, level, logger, message; session and exception where there are any."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where datagrams are sent to."""

    host: str
    """A name or an address, IPv6 without brackets."""
    port: int
    """1…65535."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that the owner of this server asked for."""

    url: str
    """Such as `stun:example.org:3478` or `turn:example.org:3478?transport=tcp`."""
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def starting_at(self, offset: int) -> Iterator[int]:
        """Every port once, from `first + offset` upwards and round."""
        return (self.first + (offset + step) % len(self) for step in range(len(self)))


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything that the owner of a server can choose."""

    host: str = "127.0.0.1"
    """Address that the page is served on; 0.0.0.0: every interface."""
    port: int = 5000
    """TCP port of the page; 0: any free one."""
    avatar: str | None = None
    """Identifier of the avatar that a session starts with; None: the first that was found."""
    avatars_dirs: tuple[Path, ...] = ()
    """Folders with more avatar files, or with training runs, beside what comes with Headcast; none: `avatars` in the working directory, where it exists."""
    size: int = 512
    """Width and height of the picture sent back, in pixels; even, 128…1024."""
    fps: int = 30
    """At most so many frames a second are rendered for a session; 1…60."""
    max_sessions: int = 2
    """More than these are told to come back later."""
    max_viewers: int = 8
    """As many may watch one session over WHEP; 0…64."""
    encoder: Encoder = Encoder.AUTO
    """What encodes the video that is sent back."""
    bitrate: int = 2500
    """Video bitrate at the start, in kbit/s; 100…50000."""
    min_bitrate: int = 100
    """Lowest video bitrate on a narrow network, in kbit/s; 30…50000."""
    max_bitrate: int = 2500
    """Highest video bitrate on a wide one, in kbit/s; 100…50000. More bits take longer on every part of the way."""
    ice_servers: tuple[IceServer, ...] = ()
    """None by default: then nothing outside this machine is ever asked."""
    turn_secret: str | None = field(default=None, repr=False)
    """Shared with the TURN servers of `ice_servers` that have no user and password: sessions get credentials made from it, which expire."""
    turn_secret_file: Path | None = None
    """Where `turn_secret` was read from."""
    udp_ports: PortRange | None = None
    """Media comes to no other UDP ports, one for a session; None: any that is free."""
    public_ips: tuple[str, ...] = ()
    """Addresses under which this machine is reached from outside with the ports unchanged, at most one of IPv4 and one of IPv6."""
    cert_file: Path | None = None
    """PEM certificate chain: serve over https."""
    key_file: Path | None = None
    """PEM private key of `cert_file`."""
    tls_auto: bool = False
    """Serve over https with a certificate of this machine's own authority, made when it is needed."""
    token: str | None = field(default=None, repr=False)
    """SHA-256 of the owner's token, in hexadecimal; None: there is none."""
    token_file: Path | None = None
    """Where the owner's token was read from."""
    users: Path | None = None
    """File of users, as realtime/access.py makes it."""
    insecure: bool = False
    """Everybody who reaches this server may do everything, wherever they are."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names of this server."""
    allowed_origins: tuple[str, ...] = ()
    """Other sites whose pages may use this server, such as `https://example.org`."""
    trust_proxy: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    """Proxies that are believed when they say whom a request came from (`X-Forwarded-For`, `X-Forwarded-Proto`)."""
    idle_timeout: int = 0
    """A session in which nobody moves for so many seconds ends: no face, no command; 0: never."""
    max_session_seconds: int = 0
    """A session ends after so many seconds; 0: never."""
    drive: DriveMode = DriveMode.AUTO
    """How a session's avatar is driven until the page asks for another way."""
    owner_lock: LockPolicy = LockPolicy.CONSENTED
    """Which avatars are driven by nobody but the person whom they show."""
    head: Path | None = None
    """Head model that drivers are followed with, its regressor beside it: that of the avatars to be driven; None: the open head."""
    vmc: Endpoint | None = None
    """The driver's motion is sent there too, by the VMC protocol; None: nowhere."""
    vmc_shapes: VmcShapes = VmcShapes.ARKIT
    """What the face is told in there."""
    no_studio: bool = False
    """No avatars are made from videos here."""
    studio_dir: Path = Path("studio")
    """Videos, runs of training and avatars of the studio, and its database; of one server at a time."""
    studio_jobs: int = 1
    """Avatars that are made at a time; 1…16."""
    expire_days: int = 0
    """Videos that people asked the studio to keep, and the pictures made of them, are deleted so many days after; 0: when somebody deletes them."""
    max_upload_mb: int = 500
    """Largest video that is taken, in MB; 1…10000."""
    training_python: Path | None = None
    """The Python that makes avatars, say of an environment with PyTorch; None: the server's own."""
    verbose: bool = False
    """Log what a developer wants to know."""
    log_format: LogFormat = LogFormat.TEXT
    """What a log line is."""

    @property
    def codec(self) -> Codec:
        """What may be negotiated, so that the encoder can make it."""
        return {Encoder.AUTO: Codec.AUTO, Encoder.VP8: Codec.VP8}.get(self.encoder, Codec.H264)

    @property
    def encrypted(self) -> bool:
        """Whether it serves https."""
        return self.tls_auto or self.cert_file is not None

    @property
    def private(self) -> bool:
        """Whether only people of this machine reach it, and all of them may do everything."""
        return self.host in LOOPBACK_HOSTS and self.token is None and self.users is None and not self.insecure

    @property
    def offers_loopback(self) -> bool:
        """Whether media may be sent to this machine's own loopback address."""
        return self.host in LOOPBACK_HOSTS | WILDCARD_HOSTS


class ConfigError(Exception):
    """A setting that cannot be used; the message names it, what was expected and what came."""
