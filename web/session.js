/** The live session: camera, then connection, then connection again whenever it is lost, until stopped. */

import { CameraError, closeCamera, openCamera } from './camera.js';
import { ConnectError, Connection } from './connection.js';
import { endingLine, isEnd } from './messages.js';
import { changedGains } from './strength.js';

/** @typedef {import('./state.js').StateEvent} StateEvent */
/** @typedef {import('./state.js').WaitReason} WaitReason */
/** @typedef {import('./settings.js').Settings} Settings */
/** @typedef {import('./sources.js').Source} Source */

/**
 * What a session tells the page.
 * @typedef {object} SessionEvents
 * @property {(event: StateEvent) => void} dispatch
 * @property {(stream: MediaStream|null) => void} camera the picture to preview
 * @property {(stream: MediaStream|null) => void} avatar the picture that comes back
 * @property {(message: Record<string, any>) => void} stats
 * @property {(ms: number) => void} roundTrip
 * @property {(units: import('./units.js').Unit[]) => void} units what of the avatar may be set by hand
 * @property {(text: string) => void} notice
 * @property {(background: string, mirror: boolean) => void} applied the server has taken over the settings
 */

/** By failures in a row. A connection that had held is made anew at once: a network that changed is there again already. */
const BACKOFF_S = [0, 1, 2, 4, 8, 15];
const HELD_MS = 5000;
const RESUME_MS = 200;
const LAST_SESSION = 'headcast.session';
const NAME = /^[\w-]{8,64}$/;

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
  /** @type {Promise<void>|undefined} the end of the session before, whose name the next one takes */
  #leaving;
  #retry = () => {};
  /** Sources are asked for in this order; one that was asked for later than what is taken is still wanted. */
  #asked = 0;
  #taken = 0;
  /** @type {Map<number, () => void>} those that wait for a source, by its number */
  #waiting = new Map();
  /** @type {Source} what moves the avatar */
  source = 'camera';

  /** @param {Settings} settings read at each connection @param {import('./filedriver.js').FileDriver} file @param {SessionEvents} events */
  constructor(settings, file, events) {
    this.settings = settings;
    this.file = file;
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
      await this.#openSource(this.source, run.signal);
      run.signal.throwIfAborted();
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

  /**
   * Have something else move the avatar, without a new connection.
   *
   * @param {Source} source
   * @throws {CameraError} it cannot; what moved the avatar before goes on
   */
  async use(source) {
    const run = this.#run;
    const before = this.source;
    if (run && !(await this.#openSource(source, run.signal))) return;
    if (before === 'file' && source !== 'file') this.file.close();
    this.source = source;
    if (!this.#connection?.sessionId) return; // one that is being made finds it so
    await this.#connection.replaceTrack(this.#track);
    if (this.#connection.control.ready) await this.request('puppet', { enabled: source === 'sliders' });
  }

  /** Change to the camera that the settings name now, without a new connection. */
  async switchCamera() {
    const run = this.#run;
    if (!run || !this.#stream || this.source !== 'camera') return;
    try {
      closeCamera(this.#stream);
      await this.#openSource('camera', run.signal);
      run.signal.throwIfAborted();
      await this.#connection?.replaceTrack(this.#track);
    } catch (error) {
      if (run.signal.aborted) return;
      this.#end();
      this.events.dispatch({ type: 'fail', problem: problemOf(error) });
    }
  }

  /** @returns {MediaStreamTrack|null} what is sent */
  get #track() {
    return this.#stream?.getVideoTracks()[0] ?? null;
  }

  /** @param {Source} source @returns {Promise<MediaStream|null>} null: it has no picture */
  async #open(source) {
    if (source === 'camera') return openCamera(this.settings.camera);
    return source === 'file' ? this.file.open() : null;
  }

  /**
   * Open a source and send it, unless one that was chosen later is there first: a browser's question may stay open for long, and cannot be taken back.
   *
   * @param {Source} source @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether it is sent
   * @throws {CameraError} it cannot be opened, and nothing else was chosen meanwhile
   */
  async #openSource(source, signal) {
    const turn = ++this.#asked;
    const opened = this.#open(source).then(
      (stream) => this.#offer(stream, turn, signal),
      (error) => {
        if (turn > this.#taken && !signal.aborted) throw error;
        return false;
      },
    );
    /** @type {Promise<boolean>} */
    const overtaken = new Promise((resolve) => this.#waiting.set(turn, () => resolve(false)));
    try {
      return await Promise.race([opened, overtaken]);
    } finally {
      this.#waiting.delete(turn);
    }
  }

  /** @param {MediaStream|null} stream @param {number} turn @param {AbortSignal} signal @returns {boolean} whether it is the newest, and is taken */
  #offer(stream, turn, signal) {
    if (signal.aborted || turn < this.#taken) {
      closeCamera(stream);
      return false;
    }
    closeCamera(this.#stream);
    this.#taken = turn;
    this.#take(stream);
    for (const [earlier, giveUp] of this.#waiting) if (earlier < turn) giveUp();
    return true;
  }

  /** @param {MediaStream|null} stream */
  #take(stream) {
    this.#stream = stream;
    this.#muteCamera();
    this.#track?.addEventListener('ended', () => {
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
        this.#connection?.close({ keep: true });
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
    const stream = this.#stream;
    const handlers = {
      open: () => this.#applySettings(),
      stats: events.stats,
      units: events.units,
      roundTrip: events.roundTrip,
      notice: events.notice,
      ending: (/** @type {string} */ why, /** @type {number} */ seconds) => events.notice(endingLine(why, seconds)),
      tracking: (/** @type {string} */ state) => events.dispatch({ type: 'tracking', state: /** @type {any} */ (state) }),
      lock: (/** @type {string} */ lock) => events.dispatch({ type: 'lock', lock: /** @type {any} */ (lock) }),
      state: (/** @type {string} */ state) => (isEnd(state) ? this.#giveWay(state) : events.dispatch({ type: 'server_state', state })),
    };
    const connection = (this.#connection = new Connection(stream, handlers, events.avatar));
    await this.#leaving;
    await connection.open(this.settings.avatar, nameOfSession(), signal);
    rememberSession(connection.sessionId);
    if (this.#stream !== stream) await connection.replaceTrack(this.#track);
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
        ...(this.source === 'sliders' ? [this.request('puppet', { enabled: true })] : []),
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

  /** The server ended the session for good; or another device or tab goes on under its name. @param {string} why */
  #giveWay(why) {
    this.#end({ keep: true });
    this.events.dispatch({ type: 'fail', problem: { kind: why } });
  }

  /** @param {{keep?: boolean}} [how] as `Connection.close` */
  #end(how) {
    const connection = this.#connection;
    this.#connection = null;
    this.#leaving = connection?.close(how);
    this.#run?.abort();
    this.#run = null;
    closeCamera(this.#stream);
    this.#stream = null;
    this.file.close();
    this.events.camera(null);
    this.events.avatar(null);
  }
}

/** @returns {string|null} the name of a session that this page's link gives it */
export function nameInLink() {
  const asked = new URLSearchParams(location.search).get('session');
  return asked !== null && NAME.test(asked) ? asked : null;
}

/**
 * What this page's session is called: as its link says (a phone's link does), or as this tab's last one was. So it keeps its name, and all who watch it, when
 * the network changes or the page is loaded anew; and the server frees what it still holds of that name.
 *
 * @returns {string|null} null: as the server calls it
 */
export function nameOfSession() {
  const asked = nameInLink();
  if (asked !== null) return asked;
  try {
    const last = sessionStorage.getItem(LAST_SESSION);
    return last !== null && NAME.test(last) ? last : null;
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
