"""Reads the server's configuration from flags and from their HEADCAST_… twins in the environment (a flag wins)."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

from realtime.access import AccessError, digest_of_chosen, read_users
from realtime.config import LOOPBACK_HOSTS, ConfigError, Encoder, Endpoint, IceServer, LockPolicy, LogFormat, PortRange, ServerConfig, VmcShapes
from realtime.hosts import IPNetwork, address_of, host_name, normal_origin
from realtime.packets import DriveMode

ENVIRONMENT_PREFIX = "HEADCAST_"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_ICE_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?:(?P<user>[^:@\s]+):(?P<password>[^@\s]+)@)?"
    r"(?P<rest>(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:\?transport=(?:udp|tcp))?)"
)
LOWEST_MEDIA_PORT = 1024


def _integer(lowest: int, highest: int, even: bool = False) -> object:
    expected = f"an {'even ' if even else ''}integer from {lowest} to {highest}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest or (even and int(text) % 2):
            raise ConfigError(f"expected {expected}, got {text!r}")
        return int(text)

    return parse


def _encoder(text: str) -> Encoder:
    try:
        return Encoder(text.lower())
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(Encoder)}, got {text!r}") from None


def _drive(text: str) -> DriveMode:
    try:
        return DriveMode(text.lower())
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(DriveMode)}, got {text!r}") from None


def _lock(text: str) -> LockPolicy:
    try:
        return LockPolicy(text.lower())
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(LockPolicy)}, got {text!r}") from None


def _endpoint(text: str) -> Endpoint:
    match = re.fullmatch(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", text)
    if not match or not 1 <= int(match["port"]) <= 65535:
        raise ConfigError(f"expected HOST:PORT such as 127.0.0.1:39539, got {text!r}")
    return Endpoint(match["host"].strip("[]"), int(match["port"]))


def _vmc_shapes(text: str) -> VmcShapes:
    try:
        return VmcShapes(text.lower())
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(VmcShapes)}, got {text!r}") from None


def _log_format(text: str) -> LogFormat:
    try:
        return LogFormat(text.lower())
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(LogFormat)}, got {text!r}") from None


def _ice_server(text: str) -> IceServer:
    match = _ICE_URL.fullmatch(text)
    if not match or (match["scheme"].startswith("stun") and "?" in match["rest"]):
        raise ConfigError(f"expected stun:HOST[:PORT] or turn:[USER:PASSWORD@]HOST[:PORT][?transport=udp|tcp], got {text.split(':')[0]}:…")
    return IceServer(f"{match['scheme']}:{match['rest']}", match["user"], match["password"])


def _secret(text: str) -> str:
    if not text.strip():
        raise ConfigError("expected the secret of the TURN server, got nothing")
    return text


def _udp_ports(text: str) -> PortRange:
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if not match or not LOWEST_MEDIA_PORT <= int(match[1]) <= int(match[2]) <= 65535:
        raise ConfigError(f"expected FIRST-LAST, two ports from {LOWEST_MEDIA_PORT} to 65535 such as 50000-50099, got {text!r}")
    return PortRange(int(match[1]), int(match[2]))


def _public_ip(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(f"expected an IPv4 or IPv6 address, got {text!r}") from None
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ConfigError(f"expected an address that others can reach, got {text!r}")
    return str(address)


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise ConfigError(f"expected a file, got {text!r}")
    return Path(text)


def _directory(text: str) -> Path:
    if not Path(text).is_dir():
        raise ConfigError(f"expected a folder, got {text!r}")
    return Path(text)


def _switch(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ConfigError(f"expected 1 or 0, got {text!r}")
    return text.lower() in _TRUE


def _host(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise ConfigError(f"expected an address such as 127.0.0.1 or 0.0.0.0, got {text!r}")
    return text


def _token(text: str) -> str:
    try:
        return digest_of_chosen(text)
    except AccessError as error:
        raise ConfigError(str(error)) from None


def _users(text: str) -> Path:
    path = _file(text)
    try:
        read_users(path)
    except AccessError as error:
        raise ConfigError(str(error)) from None
    return path


def _allowed_host(text: str) -> str:
    name = host_name(text)
    if name is None or (text != name and address_of(text) is None):
        raise ConfigError(f"expected a name such as headcast.example.org, in lower case and without a port, got {text!r}")
    return name


def _allowed_origin(text: str) -> str:
    origin = normal_origin(text.rstrip("/"))
    if origin is None:
        raise ConfigError(f"expected an origin such as https://example.org, got {text!r}")
    return origin


def _network(text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError(f"expected the address or network of a proxy, such as 127.0.0.1 or 172.18.0.0/16, got {text!r}") from None


_READERS = {
    "host": (_host, "ADDRESS", "address to serve on; 0.0.0.0: every interface"),
    "port": (_integer(0, 65535), "PORT", "TCP port of the page"),
    "avatar": (str, "ID", "avatar that a session starts with"),
    "avatars_dir": (_directory, "FOLDER", "folder with more avatar files or training runs, repeatable (default: avatars, where it exists)"),
    "size": (_integer(128, 1024, even=True), "PIXELS", "width and height of the picture sent back"),
    "fps": (_integer(1, 60), "N", "most frames a second"),
    "max_sessions": (_integer(1, 64), "N", "most sessions at a time"),
    "max_viewers": (_integer(0, 64), "N", "most WHEP viewers of a session"),
    "encoder": (_encoder, "NAME", "auto, vp8, x264 or nvenc"),
    "bitrate": (_integer(100, 50_000), "KBITS", "video bitrate at the start, in kbit/s"),
    "min_bitrate": (_integer(30, 50_000), "KBITS", "lowest video bitrate on a narrow network, in kbit/s"),
    "max_bitrate": (_integer(100, 50_000), "KBITS", "highest video bitrate, in kbit/s"),
    "ice_server": (_ice_server, "URL", "STUN or TURN server, repeatable; none by default: nothing outside this machine is asked"),
    "turn_secret": (_secret, "SECRET", "shared with TURN servers that have no user; others on the machine see flags: better in the environment or a file"),
    "turn_secret_file": (_file, "FILE", "file that holds it"),
    "udp_ports": (_udp_ports, "FIRST-LAST", "media comes to these UDP ports only (default: any that is free)"),
    "public_ip": (_public_ip, "ADDRESS", "address that is forwarded to this machine with the ports unchanged; one of IPv4, one of IPv6"),
    "cert_file": (_file, "PEM", "certificate chain: serve over https"),
    "key_file": (_file, "PEM", "private key of the certificate"),
    "tls_auto": (_switch, None, "serve over https with a certificate of this machine's own authority (python -m realtime.certificate)"),
    "token": (_token, "TEXT", "the owner's token: whoever has it may do everything; better in the environment or a file"),
    "token_file": (_file, "FILE", "file that holds it"),
    "users": (_users, "FILE", "who else may enter, as python -m realtime.access makes it"),
    "insecure": (_switch, None, "let everybody who reaches this server do everything"),
    "allowed_host": (_allowed_host, "NAME", "further name that this server is reached by, repeatable"),
    "allowed_origin": (_allowed_origin, "ORIGIN", "other site whose pages may use this server, repeatable"),
    "trust_proxy": (_network, "ADDRESS", "address or network of a proxy that says whom requests come from, repeatable"),
    "idle_timeout": (_integer(0, 86_400), "SECONDS", "end a session in which nobody moves for so long; 0: never"),
    "max_session_seconds": (_integer(0, 604_800), "SECONDS", "end a session after so long; 0: never"),
    "owner_lock": (_lock, "WHICH", "avatars that only the person shown may drive: off, consented (those whose consent record asks for it) or all"),
    "drive": (_drive, "MODE", "auto, own (as you are, for an avatar of yourself) or relative (to your rest pose, for anybody)"),
    "head": (_file, "FILE", "head model that faces are followed with, say FLAME for avatars made with it (default: the open head)"),
    "vmc": (_endpoint, "HOST:PORT", "send the driver's motion there by the VMC protocol, over UDP, for VTuber programs; nowhere by default"),
    "vmc_shapes": (_vmc_shapes, "NAMES", "arkit (the 52 shapes) or vrm (vowels and blinks, for models without them)"),
    "no_studio": (_switch, None, "make no avatars from videos here"),
    "studio_dir": (Path, "FOLDER", "where the studio keeps videos, runs, avatars and its database"),
    "studio_jobs": (_integer(1, 16), "N", "avatars that are made at a time"),
    "expire_days": (_integer(0, 3650), "DAYS", "delete kept videos, and what was made on the way to an avatar, so long after; 0: when somebody deletes them"),
    "max_upload_mb": (_integer(1, 10_000), "MB", "largest video that is taken"),
    "training_python": (_file, "PYTHON", "what makes avatars, say the Python of an environment with PyTorch (default: the server's own)"),
    "verbose": (_switch, None, "log what a developer wants to know"),
    "log_format": (_log_format, "FORMAT", "text or json (one object a line)"),
}  # fmt: skip


_LISTS = {
    "avatars_dir": ("avatars_dirs", os.pathsep),
    "ice_server": ("ice_servers", None),
    "public_ip": ("public_ips", None),
    "allowed_host": ("allowed_hosts", None),
    "allowed_origin": ("allowed_origins", None),
    "trust_proxy": ("trust_proxy", None),
}
"""Of settings that may be given several times: the field, and what separates them in one text (None: white space)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parser() -> _Parser:
    defaults = ServerConfig()
    parser = _Parser(prog="server.py", allow_abbrev=False, description="Headcast: webcam in, avatar out. Every flag has a HEADCAST_… twin in the environment.")
    for name, (_, metavar, text) in _READERS.items():
        flag = "--" + name.replace("_", "-")
        default = getattr(defaults, name, None)
        text = f"{text} (default: {default})" if default else text
        if metavar is None:
            parser.add_argument(flag, action="store_const", const="1", help=text)
        elif name in _LISTS:
            parser.add_argument(flag, action="append", metavar=metavar, help=text)
        else:
            parser.add_argument(flag, metavar=metavar, help=text)
    return parser


def read_config(arguments: Sequence[str], environment: Mapping[str, str]) -> ServerConfig:
    """Reads flags and, for those that are absent, the environment; an empty variable counts as absent.

    Raises:
        ConfigError: with one clear line.
    """
    flags = vars(_parser().parse_args(arguments))
    values: dict[str, object] = {}
    for name, (read, _, _) in _READERS.items():
        given, source = flags[name], "--" + name.replace("_", "-")
        if given is None:
            source = ENVIRONMENT_PREFIX + name.upper()
            given = environment.get(source) or None
        if given is None:
            continue
        try:
            if name in _LISTS:
                plural, separator = _LISTS[name]
                texts = [part for text in (given if isinstance(given, list) else [given]) for part in text.split(separator)]
                values[plural] = tuple(read(text) for text in texts)  # type: ignore[operator]
            else:
                values[name] = read(given)  # type: ignore[operator]
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
    return _checked(ServerConfig(**_with_bitrates(values)))  # type: ignore[arg-type]


def _with_bitrates(values: dict[str, object]) -> dict[str, object]:
    """A bitrate that was asked for moves the bounds that were not, and a bound the start."""
    defaults = ServerConfig()
    start, lowest, highest = (cast(int, values.get(name, getattr(defaults, name))) for name in ("bitrate", "min_bitrate", "max_bitrate"))
    if "bitrate" not in values:
        start = max(lowest, min(start, highest))
    if "max_bitrate" not in values:
        highest = max(start, highest)
    return {**values, "bitrate": start, "min_bitrate": lowest, "max_bitrate": highest}


def _checked(config: ServerConfig) -> ServerConfig:
    """What one setting means for another; with the secret that a file holds."""
    if config.vmc is None and config.vmc_shapes is not VmcShapes.ARKIT:
        raise ConfigError("--vmc-shapes: expected --vmc HOST:PORT with it, got none")
    if (config.cert_file is None) != (config.key_file is None):
        raise ConfigError("--cert-file and --key-file belong together: give both or neither")
    if not config.min_bitrate <= config.bitrate <= config.max_bitrate:
        given = f"{config.min_bitrate}, {config.bitrate} and {config.max_bitrate}"
        raise ConfigError(f"--min-bitrate, --bitrate and --max-bitrate: expected each to be at least the one before, got {given}")
    if len({":" in address for address in config.public_ips}) < len(config.public_ips):
        raise ConfigError("--public-ip: expected at most one IPv4 and one IPv6 address")
    if config.turn_secret_file is not None:
        if config.turn_secret is not None:
            raise ConfigError("--turn-secret and --turn-secret-file: give one of them")
        config = replace(config, turn_secret=_secret_in(config.turn_secret_file))
    if config.token_file is not None:
        if config.token is not None:
            raise ConfigError("--token and --token-file: give one of them")
        config = replace(config, token=_token_in(config.token_file))
    _check_entrance(config)
    lacking = [server for server in config.ice_servers if server.url.startswith("turn") and server.username is None]
    if lacking and config.turn_secret is None:
        raise ConfigError("--ice-server: expected turn:USER:PASSWORD@HOST[:PORT], or --turn-secret, got no user and password")
    if config.turn_secret is not None and not lacking:
        raise ConfigError("--turn-secret: expected an --ice-server turn:HOST without a user that it is for, got none")
    return config


def _check_entrance(config: ServerConfig) -> None:
    """Nobody opens a server to strangers without saying so."""
    guarded = config.token is not None or config.users is not None
    ways = "--token-file FILE (or HEADCAST_TOKEN; python -m realtime.access token makes one) or --users FILE, or --insecure to let everybody in"
    if guarded and config.insecure:
        raise ConfigError("--insecure lets everybody in: it does not go with --token, --token-file or --users")
    if not guarded and not config.insecure and config.host not in LOOPBACK_HOSTS:
        raise ConfigError(f"--host {config.host}: others reach this server, so say who may enter: {ways}")
    if not guarded and not config.insecure and config.trust_proxy:
        raise ConfigError(f"--trust-proxy: whoever reaches the proxy reaches this server, so say who may enter: {ways}")
    if config.tls_auto and config.cert_file is not None:
        raise ConfigError("--tls-auto and --cert-file: give one of them")


def _token_in(path: Path) -> str:
    try:
        return _token(path.read_text(encoding="utf-8"))
    except ConfigError as error:
        raise ConfigError(f"--token-file: {error}") from None
    except (OSError, UnicodeError):
        raise ConfigError(f"--token-file: expected a text file with a token, got {str(path)!r}") from None


def _secret_in(path: Path) -> str:
    try:
        return _secret(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeError, ConfigError):
        raise ConfigError(f"--turn-secret-file: expected a text file with a secret, got {str(path)!r}") from None


def read_config_or_exit(arguments: Sequence[str], environment: Mapping[str, str]) -> ServerConfig:
    """As `read_config`, for an entry point: an error goes to stderr as one line and ends the process with code 2."""
    try:
        return read_config(arguments, environment)
    except ConfigError as error:
        print(f"headcast: {error}", file=sys.stderr)
        sys.exit(2)
