/**
 * The data channel `control`: JSON messages, each with `"v": 1`.
 *
 * @typedef {{v: number, type: string, id?: number, of?: string, state?: string, message?: string, t?: number, why?: string, seconds?: number, units?: import('./units.js').Unit[]}} ServerMessage
 * @typedef {object} ControlHandlers
 * @property {(control: ControlChannel) => void} open
 * @property {(message: ServerMessage & Record<string, any>) => void} stats
 * @property {(state: string) => void} tracking
 * @property {(state: string) => void} lock whether its owner was recognised, of an avatar that nobody else may drive
 * @property {(state: string) => void} state
 * @property {(units: import('./units.js').Unit[]) => void} units what of the avatar may be set by hand
 * @property {(why: string, seconds: number) => void} ending the session will end so soon
 * @property {(text: string) => void} notice what the server says without being asked
 * @property {(roundTripMs: number) => void} roundTrip
 * @property {(reason: string) => void} gone the channel closed, or the server has said nothing for too long
 */

const PING_MS = 1000;
const SILENCE_MS = 3000;
const PROBE_MS = 1000;
const ANSWER_MS = 5000;

/** Requests with answers, and a heartbeat. */
export class ControlChannel {
  /** @type {Map<number, {resolve: () => void, reject: (error: Error) => void, timer: number}>} */
  #pending = new Map();
  #nextId = 1;
  #heardAt = 0;
  #heartbeat = 0;
  #closed = false;

  /** @param {RTCDataChannel} channel @param {ControlHandlers} handlers */
  constructor(channel, handlers) {
    this.channel = channel;
    this.handlers = handlers;
    channel.addEventListener('open', () => this.#opened());
    channel.addEventListener('message', (event) => this.#received(event.data));
    channel.addEventListener('close', () => handlers.gone('channel closed'));
  }

  /**
   * Send a message and wait for its acknowledgement.
   *
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<void>} rejects with the server's words, or when no answer comes
   */
  request(type, fields = {}) {
    if (!this.ready) return Promise.reject(new Error('Not connected.'));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id)?.reject(new Error('The server did not answer.')), ANSWER_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#send({ type, id, ...fields });
    });
  }

  /** @returns {boolean} whether requests can be made */
  get ready() {
    return !this.#closed && this.channel.readyState === 'open';
  }

  /** The network changed: is the server still there? One that does not answer at once is gone. */
  probe() {
    if (!this.ready) return;
    const asked = performance.now();
    this.#send({ type: 'ping', t: asked });
    setTimeout(() => {
      if (!this.#closed && this.#heardAt < asked) this.handlers.gone('silence');
    }, PROBE_MS);
  }

  /** Say and hear nothing more; the channel itself ends with its connection. */
  close() {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(new Error('Disconnected.'));
  }

  #opened() {
    if (this.#closed) return;
    this.#heardAt = performance.now();
    this.#heartbeat = setInterval(() => this.#beat(), PING_MS);
    this.handlers.open(this);
    this.#beat();
  }

  #beat() {
    const now = performance.now();
    if (now - this.#heardAt > SILENCE_MS) this.handlers.gone('silence');
    else if (this.channel.readyState === 'open') this.#send({ type: 'ping', t: now });
  }

  /** @param {Record<string, unknown>} message */
  #send(message) {
    this.channel.send(JSON.stringify({ v: 1, ...message }));
  }

  /** @param {number|undefined} id */
  #settle(id) {
    const pending = this.#pending.get(id ?? 0);
    if (!pending) return null;
    clearTimeout(pending.timer);
    this.#pending.delete(id ?? 0);
    return pending;
  }

  /** An error that answers no request is news of its own. @param {ServerMessage} message */
  #refused({ id, message = 'The server refused that.' }) {
    const pending = this.#settle(id);
    if (pending) pending.reject(new Error(sentence(message)));
    else this.handlers.notice(sentence(message));
  }

  /** @param {string} text */
  #received(text) {
    if (this.#closed) return;
    this.#heardAt = performance.now();
    const message = parse(text);
    switch (message?.type) {
      case 'ack':
        this.#settle(message.id)?.resolve();
        break;
      case 'error':
        this.#refused(message);
        break;
      case 'stats':
        this.handlers.stats(message);
        break;
      case 'tracking':
        this.handlers.tracking(message.state ?? '');
        break;
      case 'lock':
        this.handlers.lock(message.state ?? '');
        break;
      case 'units':
        this.handlers.units(message.units ?? []);
        break;
      case 'ending':
        this.handlers.ending(message.why ?? '', message.seconds ?? 0);
        break;
      case 'state':
        this.handlers.state(message.state ?? '');
        break;
      case 'pong':
        if (typeof message.t === 'number') this.handlers.roundTrip(performance.now() - message.t);
        break;
      default: // a newer server may say more than this page knows
    }
  }
}

/** @param {string} text @returns {string} with a capital letter */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {string} text @returns {ServerMessage|null} */
function parse(text) {
  try {
    const message = JSON.parse(text);
    return message && message.v === 1 ? message : null;
  } catch {
    return null;
  }
}
