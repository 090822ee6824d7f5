/** The switch for the badge on the picture, for the server's owner: on whenever the page is opened, off only while somebody says so. */

import { whoAmI } from './account.js';

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** Shown to nobody else. */
export class BadgeSwitch {
  /** @param {(enabled: boolean) => Promise<void>} send rejects where there is no session, or the server refuses */
  constructor(send) {
    this.send = send;
    this.box = element('badge');
    this.box.checked = true;
    this.box.addEventListener('change', () => this.#changed());
    whoAmI().then((account) => (element('badge-card').hidden = account?.role !== 'owner'));
  }

  /** A new session shows the badge, whatever the one before did. */
  apply() {
    if (!this.box.checked) this.#changed();
  }

  async #changed() {
    try {
      await this.send(this.box.checked);
    } catch {
      // no session yet, or it went away: the next one is told
    }
  }
}
