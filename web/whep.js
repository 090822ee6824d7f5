/** Watches one session over WHEP for as long as it is wanted: connects again whenever the session, or the server, comes back. */

import { toLogin } from './account.js';
import { fetchIceServers } from './ice.js';

const RETRY_MS = 1000;
const POST_MS = 10000;
const CONNECT_MS = 10000;

/**
 * The next picture of a video. Where the browser does not tell of pictures: the next refresh of the screen.
 *
 * @param {HTMLVideoElement} video @param {() => void} callback
 */
export function onPicture(video, callback) {
  if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(callback);
  else requestAnimationFrame(callback);
}

/**
 * @param {RTCPeerConnection} peer
 * @param {RTCDtlsTransport} transport tells of the server's goodbye seconds before the connection's own state does
 * @param {AbortSignal} signal
 * @returns {Promise<void>} resolves when there is nothing more to come
 */
function over(peer, transport, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CONNECT_MS);
    const check = () => {
      if (peer.connectionState === 'connected') clearTimeout(timer);
      if (['disconnected', 'failed', 'closed'].includes(peer.connectionState) || ['failed', 'closed'].includes(transport.state)) resolve();
    };
    signal.addEventListener('abort', () => resolve());
    peer.addEventListener('connectionstatechange', check);
    transport.addEventListener('statechange', check);
    check();
  });
}

/** Plays a session in a video element. Begins at once; ends with `close`, or with the page. */
export class Watcher {
  /** @type {string|null} where this viewer can be ended */
  #resource = null;
  #end = new AbortController();

  /**
   * @param {string} session its name
   * @param {HTMLVideoElement} video
   * @param {(live: boolean) => void} onChange whether there are pictures
   * @param {Record<string, string>} [look] how the session is to look: `avatar`, `background`, `mirror`
   */
  constructor(session, video, onChange, look = {}) {
    this.video = video;
    this.onChange = onChange;
    this.url = new URL(`whep/${encodeURIComponent(session)}`, import.meta.url);
    this.url.search = new URLSearchParams(look).toString();
    addEventListener('pagehide', () => this.#leave());
    this.#keepWatching();
  }

  close() {
    this.#end.abort();
  }

  async #keepWatching() {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#watch(signal);
      } catch {
        // the server is not there, or not yet
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** One connection, from the offer to its end. @param {AbortSignal} signal */
  async #watch(signal) {
    const peer = new RTCPeerConnection({ iceServers: await fetchIceServers(), bundlePolicy: 'max-bundle' });
    try {
      const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
      await peer.setLocalDescription();
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp' },
        body: peer.localDescription?.sdp,
        signal: AbortSignal.timeout(POST_MS),
      });
      if (response.status === 401) toLogin();
      if (response.status !== 201) return;
      this.#resource = response.headers.get('Location');
      await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
      this.video.srcObject = new MediaStream([receiver.track]);
      this.video.play().catch(() => {}); // replaced by the next stream before it played
      onPicture(this.video, () => !signal.aborted && this.#resource !== null && this.onChange(true));
      await over(peer, /** @type {RTCDtlsTransport} */ (receiver.transport), signal);
    } finally {
      this.onChange(false);
      this.#leave();
      peer.close();
    }
  }

  /** Frees the place on the server; it would notice by itself within five seconds. */
  #leave() {
    if (this.#resource !== null) fetch(new URL(this.#resource, this.url), { method: 'DELETE', keepalive: true }).catch(() => {});
    this.#resource = null;
  }
}
