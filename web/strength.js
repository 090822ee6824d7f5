/**
 * How strongly the avatar does what the driver does: one slider for each part of the face.
 *
 * @typedef {import('./settings.js').Gains} Gains
 * @typedef {keyof Gains} Group
 */

import { USUAL_GAIN } from './settings.js';

/** @type {readonly {group: Group, label: string}[]} */
const GROUPS = Object.freeze([
  { group: 'brows', label: 'Brows' },
  { group: 'lids', label: 'Eyelids' },
  { group: 'mouth', label: 'Mouth' },
  { group: 'head', label: 'Head' },
]);
const MOST = 2;
const STEP = 0.05;

/** @param {number} gain @returns {string} */
const percent = (gain) => `${Math.round(100 * gain)} %`;

/** @param {Gains} gains @returns {Group[]} those that are not as usual */
export const changedGains = (gains) => GROUPS.map(({ group }) => group).filter((group) => gains[group] !== USUAL_GAIN);

/** @param {Gains} gains @returns {string} for style sheets and tests, such as `brows=1 lids=1 mouth=1.2 head=1` */
export const spellGains = (gains) => GROUPS.map(({ group }) => `${group}=${gains[group]}`).join(' ');

/** The sliders, what they say, and the button that puts them back. */
export class StrengthPanel {
  /** @type {Map<Group, {input: HTMLInputElement, output: HTMLOutputElement}>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list to fill @param {HTMLElement} note says in a word how the sliders stand @param {HTMLButtonElement} reset
   * @param {(gains: Partial<Gains>) => void} changed
   */
  constructor(list, note, reset, changed) {
    this.note = note;
    this.reset = reset;
    for (const { group, label } of GROUPS) list.append(this.#row(group, label, changed));
    reset.addEventListener('click', () => {
      changed(Object.fromEntries(GROUPS.map(({ group }) => [group, USUAL_GAIN])));
      this.#rows.get(GROUPS[0].group)?.input.focus({ preventScroll: true });
    });
  }

  /** @param {Gains} gains */
  show(gains) {
    for (const [group, { input, output }] of this.#rows) {
      input.value = String(gains[group]);
      input.setAttribute('aria-valuetext', percent(gains[group]));
      input.style.setProperty('--filled', String(gains[group] / MOST));
      output.value = percent(gains[group]);
    }
    const usual = changedGains(gains).length === 0;
    this.note.textContent = usual ? 'Natural' : 'Adjusted';
    this.reset.disabled = usual;
  }

  /** @param {Group} group @param {string} label @param {(gains: Partial<Gains>) => void} changed */
  #row(group, label, changed) {
    const input = Object.assign(document.createElement('input'), { type: 'range', id: `gain-${group}`, min: '0', max: String(MOST), step: String(STEP) });
    const output = document.createElement('output');
    output.htmlFor.add(input.id);
    output.setAttribute('aria-hidden', 'true'); // the slider says it already
    input.addEventListener('input', () => changed({ [group]: input.valueAsNumber }));
    this.#rows.set(group, { input, output });
    const row = Object.assign(document.createElement('div'), { className: 'strength-row' });
    row.append(Object.assign(document.createElement('label'), { htmlFor: input.id, textContent: label }), input, output);
    return row;
  }
}

/** Sends at most one message of a kind at a time, and then what is newest: a slider moves faster than a server answers. */
export class Newest {
  /** @type {Set<string>} */
  #busy = new Set();
  /** @type {Set<string>} */
  #again = new Set();

  /** @param {(kind: string) => Promise<void>} send reads what is newest when it is called; never rejects */
  constructor(send) {
    this.send = send;
  }

  /** @param {string} kind */
  async push(kind) {
    if (this.#busy.has(kind)) {
      this.#again.add(kind);
      return;
    }
    this.#busy.add(kind);
    do {
      this.#again.delete(kind);
      await this.send(kind);
    } while (this.#again.has(kind));
    this.#busy.delete(kind);
  }
}
