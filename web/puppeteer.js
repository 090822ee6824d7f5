/**
 * Moving the avatar by hand: sliders and presets, on top of whoever drives it or alone.
 *
 * @typedef {import('./units.js').Unit} Unit
 * @typedef {import('./presets.js').Preset} Preset
 * @typedef {{offsets: Record<string, number>, overrides: Record<string, number>}} Pose as the server wants it
 */

import { SLIDERS } from './messages.js';
import { forgetPreset, keepPreset, loadOwnPresets, PRESETS } from './presets.js';
import { SliderPanel } from './puppet.js';
import { partnerOf } from './units.js';

const CHANGE_MS = 180;
const REST = 1e-3;

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {number} value @returns {number} as short as it is worth sending */
const short = (value) => Math.round(value * 1e4) / 1e4;

/** The card with the sliders, and what it makes of them. */
export class Puppeteer {
  /** @type {Map<string, number>} */
  values = new Map();
  /** @type {Set<string>} */
  held = new Set();
  linked = true;
  mirrored = false;
  /** @type {Map<string, Unit>} */
  #units = new Map();
  #change = 0;
  #connected = false;

  /** @param {{send: (pose: Pose) => Promise<void>, notice: (text: string, icon: 'check'|'alert') => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.panel = new SliderPanel(element('units'), {
      moved: (name, value) => this.#move(name, value),
      pinned: (name) => this.#pin(name),
    });
    element('puppet-reset').addEventListener('click', () => this.reset());
    element('puppet-link').addEventListener('click', () => this.#toggleLink());
    element('preset-form').addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#keep();
    });
    this.#listPresets();
    this.render();
  }

  /** @returns {Pose} what of it the avatar has, inside its range */
  get pose() {
    /** @type {Pose} */
    const pose = { offsets: {}, overrides: {} };
    for (const [name, unit] of this.#units) {
      const value = short(Math.min(Math.max(this.values.get(name) ?? 0, unit.low), unit.high));
      if (this.held.has(name)) pose.overrides[name] = value;
      else if (Math.abs(value) > REST) pose.offsets[name] = value;
    }
    return pose;
  }

  /** What the avatar that is worn now has; the server is told what is set. @param {readonly Unit[]} units */
  offer(units) {
    this.#units = new Map(units.map((unit) => [unit.name, unit]));
    this.#connected = true;
    this.panel.offer(units);
    this.render();
    if (this.values.size || this.held.size) this.#send();
  }

  /** @param {boolean} connected without a server there is nothing to move */
  setConnected(connected) {
    if (connected || !this.#connected) return;
    this.#connected = false;
    this.render();
  }

  /** @param {boolean} mirrored */
  setMirrored(mirrored) {
    this.mirrored = mirrored;
    this.render();
  }

  reset() {
    this.held.clear();
    this.#become({});
  }

  render() {
    const ready = this.#connected && this.panel.filled;
    element('puppet-controls').disabled = !ready;
    element('puppet-idle').hidden = ready;
    element('puppet-link').setAttribute('aria-pressed', String(this.linked));
    const set = new Set([...this.values.keys(), ...this.held]).size;
    element('puppet-note').textContent = set ? SLIDERS.set(set) : SLIDERS.none;
    element('puppet-reset').disabled = set === 0;
    this.panel.show(this, this.mirrored);
  }

  /** @param {string} name @param {number} value */
  #move(name, value) {
    cancelAnimationFrame(this.#change);
    for (const each of this.#together(name)) this.#set(each, value);
    this.render();
    this.#send();
  }

  /** @param {string} name */
  #pin(name) {
    const hold = !this.held.has(name);
    for (const each of this.#together(name)) {
      if (hold) this.held.add(each);
      else this.held.delete(each);
    }
    this.render();
    this.#send();
  }

  /** @param {string} name @returns {string[]} with the other side, where the two are linked */
  #together(name) {
    const partner = this.linked ? partnerOf(name) : null;
    return partner && this.#units.has(partner) ? [name, partner] : [name];
  }

  /** @param {string} name @param {number} value */
  #set(name, value) {
    if (Math.abs(value) > REST) this.values.set(name, value);
    else this.values.delete(name);
  }

  #toggleLink() {
    this.linked = !this.linked;
    this.render();
  }

  /** Change over to a look, in a moment, or at once for whoever wants no motion. @param {import('./presets.js').Values} values */
  #become(values) {
    cancelAnimationFrame(this.#change);
    const before = new Map(this.values);
    const names = new Set([...before.keys(), ...Object.keys(values)]);
    const began = performance.now();
    const lasts = matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : CHANGE_MS;
    const step = (/** @type {number} */ now) => {
      const share = lasts ? Math.min(Math.max((now - began) / lasts, 0), 1) : 1;
      const eased = share * share * (3 - 2 * share);
      for (const name of names) {
        const from = before.get(name) ?? 0;
        this.#set(name, from + eased * ((values[name] ?? 0) - from));
      }
      this.render();
      this.#send();
      if (share < 1) this.#change = requestAnimationFrame(step);
    };
    step(began);
  }

  async #send() {
    if (!this.#connected) return;
    const units = this.#units;
    try {
      await this.handlers.send(this.pose);
      document.body.dataset.appliedPose = String(new Set([...this.values.keys(), ...this.held]).size);
    } catch (error) {
      if (units === this.#units && this.#connected) this.handlers.notice(/** @type {Error} */ (error).message, 'alert');
    }
  }

  #listPresets() {
    element('presets').replaceChildren(...[...PRESETS, ...loadOwnPresets()].map((preset) => this.#chip(preset)));
  }

  /** @param {Preset} preset */
  #chip(preset) {
    const chip = document.createElement('span');
    chip.className = 'chip';
    const take = Object.assign(document.createElement('button'), { type: 'button', textContent: preset.label });
    take.dataset.preset = preset.id;
    take.addEventListener('click', () => this.#become(preset.values));
    chip.append(take);
    if (preset.own) {
      const forget = Object.assign(document.createElement('button'), { type: 'button', className: 'forget', textContent: '×' });
      forget.setAttribute('aria-label', SLIDERS.forget(preset.label));
      forget.addEventListener('click', () => {
        forgetPreset(preset.id);
        this.#listPresets();
        element('preset-name').focus();
      });
      chip.append(forget);
    }
    return chip;
  }

  #keep() {
    const field = element('preset-name');
    const kept = keepPreset(field.value, Object.fromEntries([...this.values].map(([name, value]) => [name, short(value)])));
    this.handlers.notice(SLIDERS.kept[kept], kept === 'kept' ? 'check' : 'alert');
    if (kept !== 'kept') return;
    field.value = '';
    this.#listPresets();
  }
}
