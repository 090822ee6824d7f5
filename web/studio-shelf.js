/** The gallery, to be looked after: play, rename, take along, delete, and how good an avatar is. */

import { contentOf, deleteAvatar, fetchAvatar, fetchShelf, glbOf, importAvatar, renameAvatar } from './studio-api.js';
import { announce, askPerson, byId, h } from './studio-dom.js';
import { choose } from './studio-jobs.js';
import { allKeys, remember } from './studio-memory.js';
import { fill, megabytes, SHELF, spell } from './studio-texts.js';

/** @typedef {import('./studio-api.js').Avatar} Avatar */

export class Shelf {
  /** @param {(job: string) => void} removed the job that an avatar came from is gone with it */
  constructor(removed) {
    this.removed = removed;
    this.root = byId('shelf');
    this.problem = byId('shelf-problem');
    const input = byId('import-file');
    input.addEventListener('change', async () => {
      const file = input.files[0];
      input.value = '';
      if (file) await this.attempt(() => this.bring(file));
    });
  }

  async load() {
    await this.attempt(async () => {
      const { avatars } = await fetchShelf(allKeys());
      this.root.replaceChildren(...avatars.map((avatar) => (avatar.problem ? this.refused(avatar) : this.item(avatar))));
    });
  }

  /** @param {() => Promise<unknown>} work what goes wrong is shown */
  async attempt(work) {
    this.problem.hidden = true;
    try {
      await work();
    } catch (error) {
      this.problem.textContent = /** @type {Error} */ (error).message;
      this.problem.hidden = false;
    }
  }

  /** @param {File} file */
  async bring(file) {
    const brought = await importAvatar(file).catch((error) => this.trusted(file, error));
    if (!brought) return;
    remember((memory) => (memory.keys[brought.id] = brought.key));
    announce(fill(SHELF.imported, { name: brought.name }));
    await this.load();
  }

  /** Asks whether whoever signed a file is to be believed. @param {File} file @param {any} refusal */
  async trusted(file, refusal) {
    if (!refusal.signer) throw refusal;
    const sure = await askPerson({ title: SHELF.trustTitle, text: fill(SHELF.trustText, { key: refusal.signer }), yes: SHELF.trust, no: SHELF.cancel, danger: true });
    return sure === null ? null : importAvatar(file, refusal.signer);
  }

  /** One that is kept, and shown to nobody. @param {Avatar} avatar */
  refused(avatar) {
    const { problem } = /** @type {{problem: string}} */ (avatar);
    return h(
      'li.card.avatar-card',
      { data: { avatar: avatar.id, origin: 'refused' } },
      h('img', { src: 'silhouette.svg', alt: '', width: 96, height: 96 }),
      h(
        'div.avatar-words',
        {},
        h('h3', {}, avatar.name),
        h('p.problem', {}, fill(SHELF.refused, { problem: problem.split(';')[0] })),
        h('div.row', {}, this.button(SHELF.remove, avatar, () => this.remove(avatar)), this.button(SHELF.withdraw, avatar, () => this.remove(avatar, { withdraw: true }))),
      ),
    );
  }

  /** @param {Avatar} avatar */
  item(avatar) {
    const details = avatar.yours && h('details.figures', { ontoggle: (/** @type {any} */ event) => event.target.open && this.showDetails(avatar, event.target) }, h('summary', {}, SHELF.details));
    return h(
      'li.card.avatar-card',
      { data: { avatar: avatar.id, origin: avatar.origin } },
      h('img', { src: avatar.thumbnail, alt: '', loading: 'lazy', width: 96, height: 96 }),
      h(
        'div.avatar-words',
        {},
        h('h3', {}, avatar.name),
        h('p.note', {}, aboutOf(avatar)),
        h(
          'div.row',
          {},
          h('a.button.primary', { href: './', onclick: () => choose(avatar.id), 'aria-label': `${SHELF.play} ${avatar.name}` }, SHELF.play),
          avatar.fetchable && this.button(SHELF.download, avatar, () => this.save(contentOf(avatar.id, 'file', allKeys()), `${avatar.id}.avatar`)),
          avatar.fetchable && (avatar.synthetic || avatar.purposes.includes('export')) && h('button.button.outlined', { type: 'button', 'aria-label': `${SHELF.glb}: ${avatar.name}`, onclick: (/** @type {any} */ event) => this.export(avatar, event.target) }, 'GLB'),
          avatar.yours && this.button(SHELF.rename, avatar, () => this.rename(avatar)),
          avatar.yours && this.button(SHELF.remove, avatar, () => this.remove(avatar)),
          avatar.yours && !avatar.synthetic && this.button(SHELF.withdraw, avatar, () => this.remove(avatar, { withdraw: true })),
        ),
      ),
      details,
    );
  }

  /** @param {string} label @param {Avatar} avatar @param {() => Promise<unknown>} work */
  button(label, avatar, work) {
    return h('button.button.outlined', { type: 'button', 'aria-label': `${label}: ${avatar.name}`, onclick: () => this.attempt(work) }, label);
  }

  /** @param {Avatar} avatar @param {HTMLButtonElement} button off until the file is made, which takes seconds */
  async export(avatar, button) {
    button.disabled = true;
    announce(fill(SHELF.exporting, avatar));
    await this.attempt(() => this.save(glbOf(avatar.id, allKeys()), `${avatar.id}.glb`));
    button.disabled = false;
  }

  /** @param {Promise<string>} content @param {string} name */
  async save(content, name) {
    const address = await content;
    h('a', { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  /** @param {Avatar} avatar */
  async rename(avatar) {
    const name = await askPerson({ title: fill(SHELF.renameTitle, avatar), value: avatar.name, yes: SHELF.save, no: SHELF.cancel });
    if (name === null || name.trim() === avatar.name) return;
    await renameAvatar(avatar.id, allKeys(), name.trim());
    await this.load();
  }

  /** @param {Avatar} avatar @param {{withdraw?: boolean}} [options] withdraw: for good, copies of it too */
  async remove(avatar, { withdraw = false } = {}) {
    const [title, text, yes] = withdraw ? [SHELF.withdrawTitle, SHELF.withdrawText, SHELF.withdraw] : [SHELF.removeTitle, SHELF.removeText, SHELF.remove];
    const sure = await askPerson({ title: fill(title, avatar), text, yes, no: SHELF.keep, danger: true });
    if (sure === null) return;
    await deleteAvatar(avatar.id, allKeys(), { withdraw });
    remember((memory) => {
      memory.jobs = memory.jobs.filter((id) => id !== memory.keys[avatar.id]);
      delete memory.keys[avatar.id];
    });
    announce(fill(withdraw ? SHELF.withdrawn : SHELF.removed, avatar));
    this.removed(avatar.id);
    await this.load();
  }

  /** @param {Avatar} avatar @param {HTMLDetailsElement} box */
  async showDetails(avatar, box) {
    if (box.querySelector('.filled')) return;
    await this.attempt(async () => {
      const { figures = {}, video = false } = await fetchAvatar(avatar.id, allKeys());
      const content = h('div.filled', {}, ...figuresOf(figures));
      box.append(content);
      if (video) {
        const address = await contentOf(avatar.id, 'video', allKeys());
        content.append(h('h4', {}, SHELF.video), h('video', { src: address, controls: true, muted: true, loop: true, playsInline: true, 'aria-label': SHELF.video }));
      }
    });
  }
}

/** @param {Avatar} avatar @returns {string} whose face, since when, where from */
function aboutOf(avatar) {
  const who = avatar.synthetic ? SHELF.nobody : fill(SHELF.made, avatar) + (avatar.expires ? ` ${fill(SHELF.until, { date: avatar.expires })}` : '');
  const when = !avatar.synthetic && avatar.date ? fill(SHELF.on, avatar) : '';
  const uses = avatar.purposes.map((purpose) => /** @type {Record<string, string>} */ (SHELF.purposes)[purpose] ?? purpose).join(', ');
  const driver = avatar.own_driver_only ? SHELF.only : '';
  const signed = avatar.origin === 'shipped' ? '' : fill(SHELF.signed, { by: avatar.signed_by });
  const origin = /** @type {Record<string, string>} */ (SHELF.origins)[avatar.origin];
  return [who, when, uses, driver, signed, origin, `${megabytes(avatar.bytes)} MB`].filter(Boolean).join(' · ');
}

/** @param {any} figures @returns {Node[]} */
function figuresOf(figures) {
  const ways = /** @type {const} */ (['offline', 'live']).filter((way) => Object.keys(figures.held_out?.[way] ?? {}).length);
  if (!ways.length) return [h('p.note', {}, SHELF.nofigures)];
  const regions = Object.entries(SHELF.region).filter(([region]) => figures.held_out[ways[0]][region]);
  const cell = (/** @type {string} */ way, /** @type {string} */ region) => `${figures.held_out[way][region]?.psnr?.toFixed(1) ?? '–'} dB`;
  return [
    figures.grade && h('p', {}, figures.grade),
    h(
      'table',
      {},
      h('caption', {}, SHELF.figures),
      h('thead', {}, h('tr', {}, h('td', {}), ...regions.map(([, label]) => h('th', { scope: 'col' }, label)))),
      h('tbody', {}, ...ways.map((way) => h('tr', {}, h('th', { scope: 'row' }, SHELF[way]), ...regions.map(([region]) => h('td', {}, cell(way, region)))))),
    ),
    figures.seconds > 0 && h('p.note', {}, fill(SHELF.took, { time: spell(figures.seconds) })),
    figures.advice?.length > 0 && h('div', {}, h('h4', {}, SHELF.advice), h('ul', {}, ...figures.advice.map((/** @type {string} */ one) => h('li', {}, one)))),
  ].filter(Boolean);
}
