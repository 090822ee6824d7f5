/** What may stand behind the avatar. The names are the server's; `own` is the page's word for a colour of one's own choice. */

/** @typedef {{name: string, label: string}} Background */

/** @type {readonly Background[]} */
export const BACKGROUNDS = Object.freeze([
  { name: 'avatar', label: 'The avatar’s own' },
  { name: 'gradient', label: 'Blurred gradient' },
  { name: '#f2efe9', label: 'Paper' },
  { name: '#24282b', label: 'Charcoal' },
  { name: '#9db4a8', label: 'Sage' },
  { name: 'green', label: 'Green, for keying' },
  { name: 'checker', label: 'Checker, for keying' },
]);

/** @param {string} name @returns {string} what a person calls it */
export function labelOf(name) {
  return BACKGROUNDS.find((background) => background.name === name)?.label ?? `Own colour ${name}`;
}

/** @param {string} name @returns {string} the one that follows, in a circle */
export function nextBackground(name) {
  const index = BACKGROUNDS.findIndex((background) => background.name === name);
  return BACKGROUNDS[(index + 1) % BACKGROUNDS.length].name;
}

/** @param {string} name @returns {string|null} the plain colour that goes on around the picture, if it is one */
export function surroundOf(name) {
  if (name === 'green') return '#00b140';
  return name.startsWith('#') ? name : null;
}

/** A group of radio buttons that look like what they choose, and a colour well. */
export class BackgroundPicker {
  /**
   * @param {HTMLElement} root
   * @param {string} colour the remembered own colour
   * @param {(name: string) => void} onChoice
   */
  constructor(root, colour, onChoice) {
    this.root = root;
    this.well = Object.assign(document.createElement('input'), { type: 'color', value: colour });
    this.well.setAttribute('aria-label', 'Own colour');
    this.own = swatch({ name: colour, label: 'Own colour' });
    this.own.classList.add('own');
    this.own.append(this.well);
    root.replaceChildren(...BACKGROUNDS.map(swatch), this.own);
    this.#paintOwn();
    root.addEventListener('change', (event) => {
      if (event.target === this.well) this.#paintOwn();
      onChoice(/** @type {HTMLInputElement} */ (event.target).value);
    });
  }

  /** @param {string} name */
  select(name) {
    if (!BACKGROUNDS.some((background) => background.name === name)) {
      this.well.value = name;
      this.#paintOwn();
    }
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.root.querySelectorAll('input[type=radio]'))) input.checked = input.value === name;
  }

  #paintOwn() {
    const radio = /** @type {HTMLInputElement} */ (this.own.querySelector('input[type=radio]'));
    radio.value = this.well.value;
    this.own.style.setProperty('--swatch', this.well.value);
  }
}

/** @param {Background} background */
function swatch({ name, label }) {
  const box = document.createElement('label');
  box.className = 'swatch';
  box.title = label;
  box.dataset.kind = name.startsWith('#') ? 'colour' : name;
  const surround = surroundOf(name);
  if (surround) box.style.setProperty('--swatch', surround);
  const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'background', value: name });
  input.setAttribute('aria-label', label);
  box.append(input);
  return box;
}
