/** "Your phone as the camera": a code for the phone to scan, and what comes of it. */

import { bindCopyButtons, cameraLink, freshName, home, lookAtAddress, obsLink } from './links.js';
import { COPY, PHONE } from './messages.js';
import { Watcher } from './whep.js';

const NAME = 'headcast.phone';

/** The dialog. Watches the phone's session while it is open. */
export class PhonePanel {
  /** @type {Watcher|null} */
  #watcher = null;
  #name = rememberedName() ?? keep(freshName());

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.dialog = dialog;
    this.code = /** @type {HTMLImageElement} */ (dialog.querySelector('#phone-code'));
    this.video = /** @type {HTMLVideoElement} */ (dialog.querySelector('#phone-video'));
    this.address = /** @type {HTMLInputElement} */ (dialog.querySelector('#phone-address'));
    this.address.value = home();
    this.address.addEventListener('input', () => this.#draw());
    this.#element('phone-renew').addEventListener('click', () => this.#renew());
    this.#element('phone-close').addEventListener('click', () => dialog.close());
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', () => this.#watch(false));
    bindCopyButtons(dialog, COPY);
  }

  open() {
    this.#draw();
    this.#watch(true);
    this.dialog.showModal();
  }

  /** @param {string} id @returns {HTMLElement} */
  #element(id) {
    return /** @type {HTMLElement} */ (this.dialog.querySelector(`#${id}`));
  }

  #draw() {
    const { base, problem } = lookAtAddress(this.address.value);
    const link = base === null ? '' : cameraLink(base, this.#name);
    this.#element('phone-problem').textContent = problem ? PHONE.problems[problem] : '';
    this.address.setAttribute('aria-invalid', String(problem !== null));
    this.#element('phone-link').textContent = link;
    this.#element('phone-obs').textContent = obsLink(home(), this.#name);
    this.code.hidden = base === null;
    if (base !== null) this.code.src = `qr.svg?text=${encodeURIComponent(link)}`;
  }

  /** @param {boolean} wanted */
  #watch(wanted) {
    this.#watcher?.close();
    this.#watcher = null;
    this.#show(false);
    if (wanted) this.#watcher = new Watcher(this.#name, this.video, (live) => this.#show(live));
  }

  /** @param {boolean} live */
  #show(live) {
    this.dialog.toggleAttribute('data-live', live);
    this.#element('phone-state').textContent = live ? PHONE.live : PHONE.waiting;
  }

  #renew() {
    this.#name = keep(freshName());
    this.#draw();
    this.#watch(true);
  }
}

/** @returns {string|null} the name that this browser gave out before: the phone may still have its page open */
function rememberedName() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null; // storage is blocked: each page has a name of its own
  }
}

/** @param {string} name @returns {string} */
function keep(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // as above
  }
  return name;
}
