"""HTTPS, which browsers require for a camera on any host but localhost."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime

from realtime.certificate import FOLDER, CertificateError, Files, Names, ensure
from realtime.config import ConfigError, ServerConfig

logger = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated; those of 1.3 all are."""


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """None: plain HTTP was asked for. Raises ConfigError where the certificate and the key cannot be used, or cannot be made."""
    if not config.encrypted:
        return None
    certificate, key = config.cert_file, config.key_file
    if config.tls_auto:
        files = Files(FOLDER)
        try:
            if ensure(files, Names.here(config.allowed_hosts), datetime.now(UTC)):
                logger.warning("made a certificate in %s; python -m realtime.certificate says how devices learn to trust it", FOLDER)
        except CertificateError as error:
            raise ConfigError(f"--tls-auto: {error}") from error
        certificate, key = files.certificate, files.key
    assert certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--cert-file, --key-file: expected a PEM certificate and its key ({error})") from error
    return context
