/**
 * The sliders: one for each unit of the avatar, in groups that fold, with a pin that holds it whatever the driver does.
 *
 * @typedef {import('./units.js').Unit} Unit
 * @typedef {object} Look what is set by hand
 * @property {Map<string, number>} values by unit, from rest; those at rest are not in it
 * @property {Set<string>} held units that stay where they are set
 */

import { SLIDERS } from './messages.js';
import { directionOf, grouped, labelOfUnit, valueTexts } from './units.js';

const STEPS = 100;
const OPEN_AT_FIRST = ['head', 'eyes'];

/** @param {string} name @param {string} [className] */
const make = (name, className = '') => Object.assign(document.createElement(name), { className });

/** @param {string} symbol */
function icon(symbol) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS('http://www.w3.org/2000/svg', 'use'));
  svg.firstElementChild?.setAttribute('href', `#i-${symbol}`);
  return svg;
}

/** Draws the sliders and says when one is moved; what they mean is for others to decide. */
export class SliderPanel {
  /** @type {Map<string, {unit: Unit, row: HTMLElement, input: HTMLInputElement, output: HTMLOutputElement, pin: HTMLButtonElement}>} */
  #rows = new Map();
  #mirrored = false;

  /**
   * @param {HTMLElement} root to fill
   * @param {{moved: (name: string, value: number) => void, pinned: (name: string) => void}} handlers `value` from rest
   */
  constructor(root, handlers) {
    this.root = root;
    this.handlers = handlers;
  }

  /** @returns {boolean} whether there are any */
  get filled() {
    return this.#rows.size > 0;
  }

  /** The sliders of an avatar; groups stay open or closed. @param {readonly Unit[]} units */
  offer(units) {
    const open = this.filled ? [...this.root.querySelectorAll('details[open]')].map((each) => /** @type {HTMLElement} */ (each).dataset.group ?? '') : OPEN_AT_FIRST;
    this.#rows.clear();
    this.root.replaceChildren(...grouped(units).map((group) => this.#group(group, open.includes(group.id))));
  }

  /** @param {Look} look @param {boolean} mirrored whether the picture is; then what goes to the side goes to the other one */
  show({ values, held }, mirrored) {
    this.#mirrored = mirrored;
    for (const [name, { unit, row, input, output, pin }] of this.#rows) {
      const value = values.get(name) ?? 0;
      const state = `${value} ${held.has(name)} ${mirrored}`;
      if (row.dataset.state === state) continue;
      row.dataset.state = state;
      const ends = [unit.low, unit.high].map((end) => end * directionOf(name, mirrored)).sort((one, two) => one - two);
      const shown = value * directionOf(name, mirrored);
      const share = (/** @type {number} */ at) => (at - ends[0]) / (ends[1] - ends[0]);
      Object.assign(input, { min: String(ends[0]), max: String(ends[1]), step: String((ends[1] - ends[0]) / STEPS) });
      if (Number(input.value) !== shown) input.value = String(shown);
      const { spoken, short } = valueTexts(name, shown);
      input.setAttribute('aria-valuetext', spoken);
      input.style.setProperty('--rest', String(share(0)));
      input.style.setProperty('--from', String(Math.min(share(0), share(shown))));
      input.style.setProperty('--to', String(Math.max(share(0), share(shown))));
      output.value = short;
      pin.setAttribute('aria-pressed', String(held.has(name)));
      row.classList.toggle('set', value !== 0 || held.has(name));
    }
    for (const group of /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll('details'))) {
      const set = group.querySelectorAll('.set').length;
      const note = /** @type {HTMLElement} */ (group.querySelector('.note'));
      note.textContent = set ? SLIDERS.set(set) : '';
    }
  }

  /** @param {{id: string, label: string, units: Unit[]}} group @param {boolean} open */
  #group({ id, label, units }, open) {
    const box = /** @type {HTMLDetailsElement} */ (Object.assign(make('details', 'unit-group'), { open }));
    box.dataset.group = id;
    const summary = make('summary');
    summary.append(Object.assign(make('h3'), { textContent: label }), make('span', 'note'), icon('chevron'));
    box.append(summary, ...units.map((unit) => this.#row(unit)));
    return box;
  }

  /** @param {Unit} unit */
  #row(unit) {
    const label = labelOfUnit(unit.name);
    const row = make('div', 'unit-row');
    const input = /** @type {HTMLInputElement} */ (Object.assign(make('input'), { type: 'range', id: `unit-${unit.name}` }));
    const output = /** @type {HTMLOutputElement} */ (make('output'));
    output.setAttribute('aria-hidden', 'true'); // the slider says it already
    const title = Object.assign(make('label'), { htmlFor: input.id, textContent: label, title: SLIDERS.title(unit.name) });
    const pin = /** @type {HTMLButtonElement} */ (Object.assign(make('button', 'pin'), { type: 'button', title: SLIDERS.hold }));
    pin.setAttribute('aria-label', `${SLIDERS.hold}: ${label}`);
    pin.append(icon('pin'));
    input.addEventListener('input', () => this.handlers.moved(unit.name, this.#valueOf(unit, input)));
    for (const element of [input, title]) element.addEventListener('dblclick', () => this.handlers.moved(unit.name, 0));
    input.addEventListener('keydown', (event) => {
      if (event.key !== 'Delete' && event.key !== 'Backspace') return;
      event.preventDefault();
      this.handlers.moved(unit.name, 0);
    });
    pin.addEventListener('click', () => this.handlers.pinned(unit.name));
    row.append(title, input, output, pin);
    this.#rows.set(unit.name, { unit, row, input, output, pin });
    return row;
  }

  /** Near rest a slider snaps to it. @param {Unit} unit @param {HTMLInputElement} input */
  #valueOf(unit, input) {
    const value = input.valueAsNumber * directionOf(unit.name, this.#mirrored);
    return Math.abs(value) < (unit.high - unit.low) / STEPS / 2 ? 0 : value;
  }
}
