# Headcast on a plain CPU: docker build -t headcast . && docker run --rm -e HEADCAST_TOKEN="$(cat token.txt)" --network host headcast
# (the token lets its owner in: docs/access.md)
# WebRTC media travels over UDP to ports that the system picks, so the container shares the host's network (or runs beside a TURN server).
# Keep the key that signs avatars over updates: add -v headcast-keys:/home/headcast/.config/headcast (docs/consent.md).
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 headcast \
    && install -d -o headcast -g headcast /home/headcast/.config && install -d -m 700 -o headcast -g headcast /home/headcast/.config/headcast

WORKDIR /app
COPY --chown=headcast:headcast . .
RUN chown headcast:headcast /app
USER headcast

# The same path as on a desk: .venv, base dependencies, weights by hash.
RUN make install

ENV HEADCAST_HOST=0.0.0.0 HEADCAST_PORT=5000
EXPOSE 5000
HEALTHCHECK --start-period=60s CMD [".venv/bin/python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"HEADCAST_PORT\"]}/healthz', timeout=3)"]
CMD [".venv/bin/python", "server.py"]
