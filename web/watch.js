/** Shows one session's avatar and nothing else (WHEP), for a browser source of OBS: watch.html?session=NAME. Comes back by itself when the session does. */

import { fetchIceServers } from './ice.js';

const RETRY_MS = 1000;
const POST_MS = 10000;
const CONNECT_MS = 10000;

const session = new URLSearchParams(location.search).get('session') ?? '';
const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
/** @type {string|null} where this viewer can be ended */
let resource = null;

/**
 * @param {RTCPeerConnection} peer
 * @param {RTCDtlsTransport} transport tells of the server's goodbye seconds before the connection's own state does
 * @returns {Promise<void>} resolves when there is nothing more to come
 */
function over(peer, transport) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CONNECT_MS);
    const check = () => {
      if (peer.connectionState === 'connected') clearTimeout(timer);
      if (['disconnected', 'failed', 'closed'].includes(peer.connectionState) || ['failed', 'closed'].includes(transport.state)) resolve();
    };
    peer.addEventListener('connectionstatechange', check);
    transport.addEventListener('statechange', check);
    check();
  });
}

/** One connection, from the offer to its end. */
async function watch() {
  const peer = new RTCPeerConnection({ iceServers: await fetchIceServers(), bundlePolicy: 'max-bundle' });
  try {
    const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
    await peer.setLocalDescription();
    const response = await fetch(`whep/${encodeURIComponent(session)}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: peer.localDescription?.sdp,
      signal: AbortSignal.timeout(POST_MS),
    });
    if (response.status !== 201) return;
    resource = response.headers.get('Location');
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    video.srcObject = new MediaStream([receiver.track]);
    video.requestVideoFrameCallback(() => (document.body.dataset.phase = 'live'));
    await over(peer, /** @type {RTCDtlsTransport} */ (receiver.transport));
  } finally {
    document.body.dataset.phase = 'waiting';
    leave();
    peer.close();
  }
}

/** Frees the place on the server; it would notice by itself within five seconds. */
function leave() {
  if (resource !== null) fetch(resource, { method: 'DELETE', keepalive: true }).catch(() => {});
  resource = null;
}

addEventListener('pagehide', leave);
for (;;) {
  try {
    await watch();
  } catch {
    // the server is not there, or not yet
  }
  await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
}
