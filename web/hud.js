/** The numbers: what the server reports, and what the browser measures. */

/** @typedef {import('./netstats.js').NetSample} NetSample */
/** @typedef {{p50: number, p95: number}} Spread milliseconds */

const STAGES = ['receive', 'decode', 'convert', 'track', 'solve', 'refine', 'retarget', 'render', 'encode'];

/** @param {number|null|undefined} value @param {number} [digits] */
const number = (value, digits = 0) => (typeof value === 'number' && Number.isFinite(value) ? value.toFixed(digits) : '–');
/** @param {Spread|undefined} spread */
const pair = (spread) => `${number(spread?.p50, 1)} / ${number(spread?.p95, 1)}`;

/** The panel; `update` may be called with either half alone. */
export class Hud {
  /** @type {Record<string, any>} */
  #stats = {};
  /** @type {Partial<NetSample>} */
  #net = {};
  /** @type {number|null} */
  #pingMs = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /** @param {{stats?: Record<string, any>, net?: NetSample, pingMs?: number}} news */
  update({ stats, net, pingMs }) {
    this.#stats = stats ?? this.#stats;
    this.#net = net ?? this.#net;
    this.#pingMs = pingMs ?? this.#pingMs;
    if (!this.root.hidden) this.render();
  }

  clear() {
    this.#stats = {};
    this.#net = {};
    this.#pingMs = null;
    if (!this.root.hidden) this.render();
  }

  render() {
    const stats = this.#stats;
    const net = this.#net;
    this.root.replaceChildren(
      group('Frames a second', [
        ['In', number(stats.fps_in, 1), 'fps-in'],
        ['Out', number(stats.fps_out, 1), 'fps-out'],
        ['Shown', number(net.shownFps, 0), 'fps-shown'],
        ['Dropped', number(stats.dropped), 'dropped'],
      ]),
      group('Network', [
        ['Round trip', `${number(net.roundTripMs, 1)} ms`, 'round-trip'],
        ['Ping', `${number(this.#pingMs, 1)} ms`, 'ping'],
        ['Buffer', `${number(net.jitterBufferMs, 1)} ms`, 'buffer'],
        ['Up', `${number(net.sentKbps)} kbit/s`, 'sent-rate'],
        ['', net.sent || '–', 'sent'],
        ['Down', `${number(net.receivedKbps)} kbit/s`, 'received-rate'],
        ['', net.received || '–', 'received'],
        ['Target', `${number(stats.downlink?.target_kbps)} kbit/s`, 'target-rate'],
        ['Lost up', `${number(stats.uplink?.packets_requested)} asked`, 'lost-up'],
        ['Lost down', `${number(stats.downlink?.loss_percent, 1)} %`, 'lost-down'],
      ]),
      group('Server, ms', [...stageRows(stats.stage_ms ?? {}), ['Queue', pair(stats.queue_age_ms), 'queue'], ['Total', pair(stats.latency_ms), 'latency']], 'p50 / p95'),
    );
  }
}

/** @param {Record<string, Spread>} stages @returns {Row[]} in the order of the pipeline, unknown ones last */
function stageRows(stages) {
  const names = [...STAGES.filter((name) => name in stages), ...Object.keys(stages).filter((name) => !STAGES.includes(name))];
  return (names.length ? names : STAGES).map((name) => [capital(name), pair(stages[name]), `stage-${name}`]);
}

/** @param {string} name */
const capital = (name) => name[0].toUpperCase() + name.slice(1).replaceAll('_', ' ');

/** @typedef {[label: string, value: string, name: string]} Row */

/** @param {string} title @param {Row[]} rows @param {string} [unit] */
function group(title, rows, unit = '') {
  const box = document.createElement('div');
  const heading = document.createElement('h3');
  heading.append(title, Object.assign(document.createElement('span'), { textContent: unit }));
  const list = document.createElement('dl');
  for (const [label, value, name] of rows) {
    const term = Object.assign(document.createElement('dt'), { textContent: label });
    const detail = Object.assign(document.createElement('dd'), { textContent: value });
    detail.dataset.stat = name;
    list.append(term, detail);
  }
  box.append(heading, list);
  return box;
}
