from __future__ import annotations

import dataclasses
import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from realtime.access import digest, write_users
from realtime.config import Codec, ConfigError, Encoder, Endpoint, IceServer, LogFormat, PortRange, ServerConfig, VmcShapes
from realtime.flags import read_config, read_config_or_exit
from realtime.packets import DriveMode

ROOT = Path(__file__).resolve().parents[1]


def test_defaults() -> None:
    assert read_config([], {}) == ServerConfig()
    assert ServerConfig().host == "127.0.0.1"
    assert ServerConfig().ice_servers == ()
    assert (ServerConfig().udp_ports, ServerConfig().public_ips) == (None, ())


def test_every_flag(tmp_path: Path) -> None:
    pem, more = tmp_path / "a.pem", tmp_path / "more"
    pem.write_text("")
    more.mkdir()
    write_users(users := tmp_path / "users.json", [])
    flags = f"--host 0.0.0.0 --port 0 --avatar ada --avatars-dir {tmp_path} --avatars-dir {more} --size 256 --fps 25 --max-sessions 3"
    flags += " --encoder x264 --bitrate 900 --min-bitrate 90 --max-bitrate 901"
    flags += f" --drive own --verbose --log-format json --cert-file {pem} --key-file {pem}"
    flags += " --ice-server stun:example.org --ice-server turn:me:secret@example.org:3478?transport=tcp --ice-server turns:[2001:db8::1] --turn-secret north"
    flags += f" --users {users} --allowed-host headcast.example.org --allowed-origin https://example.org/ --trust-proxy 127.0.0.1 --trust-proxy 172.18.0.0/16"
    flags += " --idle-timeout 900 --max-session-seconds 7200"
    flags += " --udp-ports 50000-50099 --public-ip 203.0.113.7 --public-ip 2001:DB8::7"
    flags += f" --vmc [::1]:39539 --vmc-shapes vrm --head {pem}"
    assert read_config(flags.split(), {}) == ServerConfig(
        host="0.0.0.0",
        port=0,
        avatar="ada",
        avatars_dirs=(tmp_path, more),
        size=256,
        fps=25,
        max_sessions=3,
        encoder=Encoder.X264,
        bitrate=900,
        min_bitrate=90,
        max_bitrate=901,
        drive=DriveMode.OWN,
        ice_servers=(IceServer("stun:example.org"), IceServer("turn:example.org:3478?transport=tcp", "me", "secret"), IceServer("turns:[2001:db8::1]")),
        turn_secret="north",
        udp_ports=PortRange(50000, 50099),
        public_ips=("203.0.113.7", "2001:db8::7"),
        cert_file=pem,
        key_file=pem,
        head=pem,
        vmc=Endpoint("::1", 39539),
        vmc_shapes=VmcShapes.VRM,
        users=users,
        allowed_hosts=("headcast.example.org",),
        allowed_origins=("https://example.org",),
        trust_proxy=(ip_network("127.0.0.1"), ip_network("172.18.0.0/16")),
        idle_timeout=900,
        max_session_seconds=7200,
        verbose=True,
        log_format=LogFormat.JSON,
    )


def test_every_field_has_a_flag_a_twin_and_a_docstring() -> None:
    flags, settings = ((ROOT / "realtime" / name).read_text(encoding="utf-8") for name in ("flags.py", "config.py"))
    for field in dataclasses.fields(ServerConfig):
        name = field.name.removesuffix("s") if field.name in ("ice_servers", "avatars_dirs", "public_ips", "allowed_hosts", "allowed_origins") else field.name
        assert f'    "{name}": (' in flags
        declaration = settings.index(f"    {field.name}: ")
        assert settings[declaration:].splitlines()[1].startswith('    """'), field.name


def test_environment_and_its_precedence() -> None:
    environment = {"HEADCAST_PORT": "5077", "HEADCAST_ENCODER": "VP8", "HEADCAST_VERBOSE": "1", "HEADCAST_ICE_SERVER": "stun:a stun:b:1", "HEADCAST_AVATAR": ""}
    config = read_config(["--encoder", "X264"], environment)
    assert (config.port, config.encoder, config.verbose, config.avatar) == (5077, Encoder.X264, True, None)
    assert [server.url for server in config.ice_servers] == ["stun:a", "stun:b:1"]
    assert read_config([], {"HEADCAST_VERBOSE": "0"}).verbose is False


@pytest.mark.parametrize(
    "flags",
    [
        "--port 65536",
        "--port -1",
        "--port five",
        "--port ",
        "--size 511",
        "--size 64",
        "--size 2048",
        "--fps 0",
        "--fps 30.5",
        "--max-sessions 0",
        "--encoder av1",
        "--codec vp8",
        "--bitrate 200 --min-bitrate 300",
        "--max-bitrate 2000 --min-bitrate 2001",
        "--min-bitrate 5",
        "--bitrate 5",
        "--bitrate 2.5M",
        "--ice-server http://x",
        "--ice-server turn:example.org",
        "--ice-server stun:a?transport=udp",
        "--head missing.safetensors",
        "--vmc 39539",
        "--vmc localhost",
        "--vmc localhost:0",
        "--vmc localhost:65536",
        "--vmc osc.udp://localhost:39539",
        "--vmc ::1:39539",
        "--vmc localhost:39539 --vmc-shapes iphone",
        "--vmc-shapes vrm",
        "--log-format xml",
        '--ice-server stun:a>;rel="x"',
        "--ice-server stun:a:b:c",
        "--turn-secret north",
        "--host 0.0.0.0",
        "--host 192.168.1.2 --port 5001",
        "--trust-proxy 127.0.0.1",
        "--token short",
        "--token-file missing.txt",
        "--users missing.json",
        "--allowed-host https://example.org",
        "--allowed-host example.org:5000",
        "--allowed-origin example.org",
        "--allowed-origin https://example.org/page",
        "--insecure --trust-proxy somewhere",
        "--idle-timeout -1",
        "--turn-secret north --ice-server stun:a",
        "--turn-secret north --ice-server turn:me:secret@a",
        "--turn-secret-file /nowhere/secret",
        "--turn-secret-file /dev/null --ice-server turn:a",
        "--udp-ports 50000",
        "--udp-ports 50099-50000",
        "--udp-ports 80-90",
        "--udp-ports 65000-65536",
        "--udp-ports 0-0",
        "--public-ip example.org",
        "--public-ip 127.0.0.1",
        "--public-ip 0.0.0.0",
        "--public-ip fe80::1",
        "--public-ip 203.0.113.7 --public-ip 203.0.113.8",
        "--avatars-dir /nowhere/at/all",
        "--cert-file /nowhere/cert.pem",
        "--host a/b",
        "--unknown 1",
        "--verb",
        "extra",
    ],
)
def test_bad_values_are_one_clear_line_and_code_2(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_config_or_exit(flags.split(" "), {})
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("headcast: ")
    assert output.err.count("\n") == 1


def test_folders_of_avatars_in_the_environment_are_a_path_list(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two words"
    for folder in folders:
        folder.mkdir()
    assert read_config([], {"HEADCAST_AVATARS_DIR": os.pathsep.join(map(str, folders))}).avatars_dirs == folders
    with pytest.raises(ConfigError, match=r"^HEADCAST_AVATARS_DIR: expected a folder, got "):
        read_config([], {"HEADCAST_AVATARS_DIR": os.pathsep.join([str(folders[0]), str(tmp_path / "absent")])})


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^HEADCAST_FPS: expected an integer from 1 to 60, got 'x'$"):
        read_config([], {"HEADCAST_FPS": "x"})


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(["--ice-server", "turn:me:secret@"], {})
    assert "secret" not in str(caught.value)


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("")
    with pytest.raises(ConfigError, match="both or neither"):
        read_config(["--cert-file", str(pem)], {})


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", True), ("192.0.2.7", False)])
def test_loopback_is_offered_where_it_is_served(host: str, loopback: bool) -> None:
    assert ServerConfig(host=host).offers_loopback is loopback


def test_the_turn_secret_may_be_in_the_environment_or_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("north\n")
    flags = ["--ice-server", "turn:example.org"]
    assert read_config(flags, {"HEADCAST_TURN_SECRET": "north"}).turn_secret == "north"
    assert read_config(flags, {"HEADCAST_TURN_SECRET_FILE": str(secret)}).turn_secret == "north"
    assert read_config([*flags, "--turn-secret-file", str(secret)], {}).turn_secret == "north"
    with pytest.raises(ConfigError, match="give one of them"):
        read_config([*flags, "--turn-secret-file", str(secret)], {"HEADCAST_TURN_SECRET": "north"})


def test_secrets_are_not_in_a_configurations_text() -> None:
    config = read_config(["--ice-server", "turn:example.org", "--ice-server", "turn:me:south@b", "--turn-secret", "north"], {})
    assert "north" not in repr(config)
    assert "south" not in repr(config)


def test_a_server_that_others_reach_must_be_told_who_may_enter(tmp_path: Path) -> None:
    token, file = "correct-horse-battery", tmp_path / "token"
    file.write_text(f"{token}\n")
    everywhere = ["--host", "0.0.0.0"]
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0: .*say who may enter: --token-file FILE .*--users FILE, or --insecure"):
        read_config(everywhere, {})
    with pytest.raises(ConfigError, match="does not go with"):
        read_config([*everywhere, "--insecure", "--token", token], {})
    with pytest.raises(ConfigError, match="give one of them"):
        read_config([*everywhere, "--token-file", str(file), "--token", token], {})
    assert read_config([*everywhere, "--insecure"], {}).private is False
    for config in (
        read_config([*everywhere, "--token", token], {}),
        read_config([*everywhere, "--token-file", str(file)], {}),
        read_config(everywhere, {"HEADCAST_TOKEN": token}),
        read_config([], {"HEADCAST_TOKEN": token}),
    ):
        assert (config.token, config.private) == (digest(token), False)
        assert token not in repr(config)
    assert read_config([], {}).private is True


def test_a_token_that_cannot_be_used_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="expected at least 16 visible") as error:
        read_config([], {"HEADCAST_TOKEN": "sesame open"})
    assert "sesame" not in str(error.value)


def test_a_range_of_ports() -> None:
    ports = PortRange(50_000, 50_003)
    assert len(ports) == 4
    assert list(ports.starting_at(2)) == [50_002, 50_003, 50_000, 50_001]


@pytest.mark.parametrize(("encoder", "codec"), [("auto", Codec.AUTO), ("vp8", Codec.VP8), ("x264", Codec.H264), ("nvenc", Codec.H264)])
def test_the_encoder_decides_what_is_negotiated(encoder: str, codec: Codec) -> None:
    assert read_config(["--encoder", encoder], {}).codec is codec


@pytest.mark.parametrize(
    ("flags", "start", "highest"),
    [("", 2500, 2500), ("--bitrate 6000", 6000, 6000), ("--bitrate 900", 900, 2500), ("--max-bitrate 2000", 2000, 2000), ("--min-bitrate 3000", 3000, 3000)],
)
def test_a_bitrate_alone_moves_the_others_as_far_as_it_must(flags: str, start: int, highest: int) -> None:
    config = read_config(flags.split(), {})
    assert (config.bitrate, config.max_bitrate) == (start, highest)


def test_the_studio(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    config = read_config(f"--studio-dir {tmp_path} --studio-jobs 2 --max-upload-mb 20 --training-python {python}".split(), {})
    assert (config.studio_dir, config.studio_jobs, config.max_upload_mb, config.training_python) == (tmp_path, 2, 20, python)
    assert read_config([], {}).no_studio is False
    assert read_config(["--no-studio"], {}).no_studio is read_config([], {"HEADCAST_NO_STUDIO": "yes"}).no_studio is True
    for wrong in ("--studio-jobs 0", "--max-upload-mb 0", "--max-upload-mb 1e9", f"--training-python {tmp_path / 'none'}"):
        with pytest.raises(ConfigError, match="expected"):
            read_config(wrong.split(), {})
