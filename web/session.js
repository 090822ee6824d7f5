/** The live session: camera, then connection, then connection again whenever it is lost, until stopped. */

import { CameraError, closeCamera, openCamera } from './camera.js';
import { ConnectError, Connection } from './connection.js';
import { changedGains } from './strength.js';

/** @typedef {import('./state.js').StateEvent} StateEvent */
/** @typedef {import('./state.js').WaitReason} WaitReason */
/** @typedef {import('./settings.js').Settings} Settings */

/**
 * What a session tells the page.
 * @typedef {object} SessionEvents
 * @property {(event: StateEvent) => void} dispatch
 * @property {(stream: MediaStream|null) => void} camera the picture to preview
 * @property {(stream: MediaStream|null) => void} avatar the picture that comes back
 * @property {(message: Record<string, any>) => void} stats
 * @property {(ms: number) => void} roundTrip
 * @property {(text: string) => void} notice
 * @property {(background: string, mirror: boolean) => void} applied the server has taken over the settings
 */

/** By failures in a row. A connection that had held is made anew at once: a network that changed is there again already. */
const BACKOFF_S = [0, 1, 2, 4, 8, 15];
const HELD_MS = 5000;
const RESUME_MS = 200;
const LAST_SESSION = 'headcast.session';

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One user's session; may be started again after it stopped. */
export class LiveSession {
  /** @type {MediaStream|null} */
  #stream = null;
  /** @type {Connection|null} */
  #connection = null;
  /** @type {AbortController|null} */
  #run = null;
  #paused = false;
  #retry = () => {};

  /** @param {Settings} settings read at each connection @param {SessionEvents} events */
  constructor(settings, events) {
    this.settings = settings;
    this.events = events;
    window.addEventListener('online', () => this.#networkChanged());
    /** @type {EventTarget|undefined} */ (Reflect.get(navigator, 'connection'))?.addEventListener('change', () => this.#networkChanged());
  }

  /** @returns {RTCPeerConnection|null} for measurements only */
  get peerConnection() {
    return this.#connection?.pc ?? null;
  }

  /** @returns {MediaStream|null} */
  get camera() {
    return this.#stream;
  }

  async start() {
    if (this.#run) return;
    const run = (this.#run = new AbortController());
    run.signal.addEventListener('abort', () => this.#retry());
    this.#paused = false;
    this.events.dispatch({ type: 'start' });
    try {
      await this.#openCamera(run.signal);
      await this.#stayConnected(run.signal);
    } catch (error) {
      if (run.signal.aborted) return;
      this.#end();
      this.events.dispatch({ type: 'fail', problem: problemOf(error) });
    }
  }

  stop() {
    this.#end();
    this.events.dispatch({ type: 'stop' });
  }

  /** Connect at once instead of waiting for the countdown. */
  retryNow() {
    this.#retry();
  }

  #networkChanged() {
    this.retryNow();
    this.#connection?.control.probe();
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<void>} resolves when the server acknowledged
   */
  request(type, fields) {
    return this.#connection ? this.#connection.control.request(type, fields) : Promise.reject(new Error('Not connected.'));
  }

  /** While paused the camera sends nothing but black; the last of that is let through before the server looks again. @param {boolean} paused */
  async setPaused(paused) {
    this.#paused = paused;
    this.#muteCamera();
    if (!paused) await sleep(RESUME_MS);
    await this.request('pause', { enabled: paused });
  }

  /** Change to the camera that the settings name now, without a new connection. */
  async switchCamera() {
    const run = this.#run;
    if (!run || !this.#stream) return;
    try {
      closeCamera(this.#stream);
      await this.#openCamera(run.signal);
      const stream = /** @type {MediaStream|null} */ (this.#stream);
      if (stream) await this.#connection?.replaceTrack(stream.getVideoTracks()[0]);
    } catch (error) {
      if (run.signal.aborted) return;
      this.#end();
      this.events.dispatch({ type: 'fail', problem: problemOf(error) });
    }
  }

  /** @param {AbortSignal} signal */
  async #openCamera(signal) {
    const stream = await openCamera(this.settings.camera);
    if (signal.aborted) {
      closeCamera(stream);
      signal.throwIfAborted();
    }
    this.#stream = stream;
    this.#muteCamera();
    stream.getVideoTracks()[0].addEventListener('ended', () => {
      if (this.#stream !== stream) return;
      this.#end();
      this.events.dispatch({ type: 'fail', problem: { kind: 'camera_lost' } });
    });
    this.events.camera(stream);
  }

  #muteCamera() {
    for (const track of this.#stream?.getVideoTracks() ?? []) track.enabled = !this.#paused;
  }

  /** @param {AbortSignal} signal */
  async #stayConnected(signal) {
    let failures = 0;
    for (;;) {
      let connectedAt = Infinity;
      this.events.dispatch({ type: 'connecting' });
      /** @type {WaitReason} */
      let reason;
      /** @type {number|undefined} */
      let retryAfter;
      try {
        reason = await this.#connectOnce(signal, () => (connectedAt = performance.now()));
      } catch (error) {
        if (signal.aborted || !(error instanceof ConnectError) || error.reason === null) throw error;
        ({ reason, retryAfter } = error);
      } finally {
        this.#connection?.close();
        this.#connection = null;
      }
      signal.throwIfAborted();
      failures = performance.now() - connectedAt > HELD_MS ? 0 : failures + 1;
      await this.#wait(reason, retryAfter ?? BACKOFF_S[Math.min(failures, BACKOFF_S.length - 1)], signal);
    }
  }

  /**
   * @param {AbortSignal} signal
   * @param {() => void} connected
   * @returns {Promise<WaitReason>} when the connection is over
   */
  async #connectOnce(signal, connected) {
    const { events } = this;
    const stream = /** @type {MediaStream} */ (this.#stream);
    const handlers = {
      open: () => this.#applySettings(),
      stats: events.stats,
      roundTrip: events.roundTrip,
      notice: events.notice,
      tracking: (/** @type {string} */ state) => events.dispatch({ type: 'tracking', state: /** @type {any} */ (state) }),
      state: (/** @type {string} */ state) => events.dispatch({ type: 'server_state', state }),
    };
    const connection = (this.#connection = new Connection(stream, handlers, events.avatar));
    await connection.open(this.settings.avatar, lastSession(), signal);
    rememberSession(connection.sessionId);
    const track = this.#stream?.getVideoTracks()[0];
    if (track && this.#stream !== stream) await connection.replaceTrack(track);
    connected();
    events.dispatch({ type: 'connected' });
    return connection.lost;
  }

  async #applySettings() {
    const { background, mirror, gains } = this.settings;
    try {
      await Promise.all([
        this.request('set_background', { background }),
        this.request('mirror', { enabled: mirror }),
        ...changedGains(gains).map((group) => this.request('gain', { group, value: gains[group] })),
        ...(this.#paused ? [this.request('pause', { enabled: true })] : []),
      ]);
      this.events.applied(background, mirror);
    } catch {
      // the connection went away again; the next one applies them
    }
  }

  /** @param {WaitReason} reason @param {number} seconds @param {AbortSignal} signal */
  async #wait(reason, seconds, signal) {
    let hurried = false;
    for (let left = Math.ceil(seconds); left > 0 && !hurried; left--) {
      this.events.dispatch({ type: 'wait', reason, seconds: left });
      hurried = await new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), 1000);
        this.#retry = () => (clearTimeout(timer), resolve(true));
      });
      signal.throwIfAborted();
    }
    this.#retry = () => {};
  }

  #end() {
    this.#run?.abort();
    this.#run = null;
    this.#connection?.close();
    this.#connection = null;
    closeCamera(this.#stream);
    this.#stream = null;
    this.events.camera(null);
    this.events.avatar(null);
  }
}

/** @returns {string|null} this tab's last session: after a reload or a crash the server may still hold its place */
function lastSession() {
  try {
    return sessionStorage.getItem(LAST_SESSION);
  } catch {
    return null; // storage is blocked: the server finds out by itself
  }
}

/** @param {string|null} id */
function rememberSession(id) {
  try {
    if (id) sessionStorage.setItem(LAST_SESSION, id);
  } catch {
    // as above
  }
}

/** @param {unknown} error @returns {import('./state.js').Problem} */
function problemOf(error) {
  if (error instanceof CameraError) return error.problem;
  return { kind: 'rejected', detail: /** @type {Error} */ (error).message };
}
