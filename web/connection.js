/** One WebRTC connection: the camera's track up, the avatar's down, the control channel beside them. */

import { toLogin } from './account.js';
import { ControlChannel } from './control.js';
import { fetchIceServers } from './ice.js';

/** @typedef {import('./state.js').WaitReason} WaitReason */

const GATHER_MS = 5000;
const PATCH_MS = 5000;
const OFFER_MS = 20000;
const CONNECT_MS = 12000;
const DELETE_MS = 2000;
const DISCONNECTED_MS = 1500;
const MAX_BITRATE = 2_500_000;
const START_KBPS = 1500;
const RETRY_AFTER_S = 10;

/** A connection that did not come about. `reason` null: trying again is of no use. */
export class ConnectError extends Error {
  /** @param {WaitReason|null} reason @param {{detail?: string, retryAfter?: number}} [more] */
  constructor(reason, { detail, retryAfter } = {}) {
    super(detail ?? reason ?? 'refused');
    this.reason = reason;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** A live connection. Made by `Connection.open`; `lost` resolves when it is over. */
export class Connection {
  /** @type {string|null} */
  sessionId = null;
  #disconnected = 0;
  #closed = false;
  /** @type {(reason: WaitReason) => void} */
  #lose = () => {};
  /** @type {RTCRtpTransceiver} */
  #transceiver;

  /**
   * @param {MediaStream|null} stream null: nothing is sent, for now
   * @param {Omit<import('./control.js').ControlHandlers, 'gone'>} handlers
   * @param {(stream: MediaStream) => void} onAvatar
   */
  constructor(stream, handlers, onAvatar) {
    this.pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' });
    /** @type {Promise<WaitReason>} */
    this.lost = new Promise((resolve) => (this.#lose = resolve));
    this.control = new ControlChannel(this.pc.createDataChannel('control'), { ...handlers, gone: () => this.#lose('lost') });
    this.#transceiver = this.pc.addTransceiver(stream?.getVideoTracks()[0] ?? 'video', {
      direction: 'sendrecv',
      ...(stream && { streams: [stream] }),
      sendEncodings: [{ maxBitrate: MAX_BITRATE, maxFramerate: 30 }],
    });
    this.pc.addEventListener('connectionstatechange', () => this.#connectionChanged());
    this.pc.addEventListener('track', ({ track, receiver }) => {
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
      track.addEventListener('ended', () => this.#lose('lost'));
      onAvatar(new MediaStream([track]));
    });
  }

  /**
   * Negotiate with the server and wait until media can flow.
   *
   * @param {string|null} avatar id, or null for the server's default
   * @param {string|null} name what the session is to be called, in the place of any that is called so already; null: the server finds one
   * @param {AbortSignal} signal
   * @throws {ConnectError}
   */
  async open(avatar, name, signal) {
    await Promise.all([this.#preferFrameRate(), this.#useIceServers()]);
    await this.pc.setLocalDescription(await this.pc.createOffer());
    const { sdp, type } = /** @type {RTCSessionDescription} */ (this.pc.localDescription);
    const { answer, tag } = await postOffer({ sdp, type, ...(avatar && { avatar }), ...(name && { session: name }) });
    this.sessionId = answer.session_id;
    if (this.#closed) this.#deleteSession();
    signal.throwIfAborted();
    await this.pc.setRemoteDescription({ sdp: startingFast(answer.sdp), type: answer.type });
    this.#sendCandidates(tag);
    await this.#connected(signal);
  }

  /** @param {MediaStreamTrack|null} track */
  replaceTrack(track) {
    return this.#transceiver.sender.replaceTrack(track);
  }

  /**
   * Free the place on the server, then close. Safe to call twice, and while the page goes away.
   *
   * @param {{keep?: boolean}} [how] `keep`: leave the server's place alone; a session of the same name has it, or will
   */
  async close({ keep = false } = {}) {
    if (this.#closed) return;
    this.#closed = true;
    this.#lose('lost');
    clearTimeout(this.#disconnected);
    this.control.close();
    if (!keep) await this.#deleteSession();
    this.pc.close();
  }

  get #resource() {
    return `sessions/${encodeURIComponent(this.sessionId ?? '')}`;
  }

  async #deleteSession() {
    if (!this.sessionId) return;
    try {
      await fetch(this.#resource, { method: 'DELETE', keepalive: true, signal: AbortSignal.timeout(DELETE_MS) });
    } catch {
      // the server is gone, or ends the session by itself
    }
  }

  /** The addresses of this side, once all are known. Most connections come about without: the browser tries those of the server. @param {string} tag */
  async #sendCandidates(tag) {
    await gathered(this.pc);
    const lines = (this.pc.localDescription?.sdp ?? '').split(/\r?\n/).filter((line) => /^(m=|a=(mid|ice-ufrag|ice-pwd|candidate|end-of-candidates))/.test(line));
    if (this.#closed || !lines.some((line) => line.startsWith('a=candidate'))) return;
    try {
      await fetch(this.#resource, {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': tag },
        body: `${lines.join('\r\n')}\r\n`,
        signal: AbortSignal.timeout(PATCH_MS),
      });
    } catch {
      // a network that needs them is told by the connection that does not come about
    }
  }

  async #useIceServers() {
    const iceServers = await fetchIceServers();
    if (iceServers.length) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
  }

  /** A talking face needs every frame more than it needs every pixel. */
  async #preferFrameRate() {
    const { sender } = this.#transceiver;
    const parameters = sender.getParameters();
    try {
      await sender.setParameters({ ...parameters, degradationPreference: 'maintain-framerate' });
    } catch {
      // not every browser lets one choose
    }
  }

  #connectionChanged() {
    clearTimeout(this.#disconnected);
    const state = this.pc.connectionState;
    if (state === 'failed' || state === 'closed') this.#lose('lost');
    if (state === 'disconnected') this.#disconnected = setTimeout(() => this.#lose('lost'), DISCONNECTED_MS);
  }

  /** @param {AbortSignal} signal */
  #connected(signal) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new ConnectError('blocked')), CONNECT_MS);
      const check = () => {
        const state = this.pc.connectionState;
        if (state === 'connected') resolve(undefined);
        else if (state === 'failed') reject(new ConnectError('blocked'));
        else return;
        clearTimeout(timer);
      };
      signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)));
      this.pc.addEventListener('connectionstatechange', check);
      check();
    });
  }
}

/**
 * Chromium begins with 300 kbit/s and grows by some percent a second; the tracker should see more than that from the start. Others ignore the parameter.
 *
 * @param {string} sdp the server's answer @returns {string}
 */
function startingFast(sdp) {
  const start = `x-google-start-bitrate=${START_KBPS}`;
  const types = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|H264)\/90000/gm)].map(([, type]) => type);
  return types.reduce((text, type) => {
    const parameters = new RegExp(`^(a=fmtp:${type} .*)$`, 'm');
    if (parameters.test(text)) return text.replace(parameters, `$1;${start}`);
    return text.replace(new RegExp(`^(a=rtpmap:${type} .*)$`, 'm'), `$1\r\na=fmtp:${type} ${start}`);
  }, sdp);
}

/** @param {RTCPeerConnection} pc resolves when all addresses are known, or those that could be found in time */
function gathered(pc) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    const check = () => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve(undefined);
    };
    pc.addEventListener('icegatheringstatechange', check);
    check();
  });
}

/**
 * Not aborted by a stop: the answer names the session that must then be deleted.
 *
 * @param {{sdp: string, type: string, avatar?: string, session?: string}} offer
 * @returns {Promise<{answer: {sdp: string, type: RTCSdpType, session_id: string}, tag: string}>} `tag` names the ICE session
 * @throws {ConnectError}
 */
async function postOffer(offer) {
  let response;
  try {
    response = await fetch('offer', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(offer),
      signal: AbortSignal.timeout(OFFER_MS),
    });
  } catch {
    throw new ConnectError('unreachable');
  }
  if (response.ok) return { answer: await response.json(), tag: response.headers.get('ETag') ?? '' };
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) toLogin();
  if (response.status === 429) throw new ConnectError('limited', { retryAfter: Number(response.headers.get('Retry-After')) || RETRY_AFTER_S });
  if (response.status === 503) throw new ConnectError('full', { retryAfter: Number(response.headers.get('Retry-After')) || RETRY_AFTER_S });
  if (response.status >= 500) throw new ConnectError('unreachable', { detail: problem.detail });
  throw new ConnectError(null, { detail: problem.detail ?? problem.title });
}
