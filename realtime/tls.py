"""HTTPS, which browsers require for a camera on any host but localhost."""

from __future__ import annotations

import ssl

from realtime.config import ConfigError, ServerConfig


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """None: plain HTTP was asked for. Raises ConfigError where the certificate and the key cannot be used."""
    if config.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--cert-file, --key-file: expected a PEM certificate and its key ({error})") from error
    return context
