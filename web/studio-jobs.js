/** The jobs of this browser: how far each is, with pictures; one request waits for news of the one at work, and the others are asked when there is some. */

import { actOnJob, deleteJob, fetchJob, previewOf } from './studio-api.js';
import { announce, askPerson, byId, h } from './studio-dom.js';
import { recall, remember } from './studio-memory.js';
import { FAILURES, fill, JOB, SHELF, spell, STAGES } from './studio-texts.js';
import { loadSettings, saveSettings } from './settings.js';

const PAUSE_MS = 2000;
const OVER = new Set(['done', 'failed', 'cancelled']);

/** @typedef {import('./studio-api.js').Job} Job */

/** Chooses the avatar for the live page. @param {string} id */
export function choose(id) {
  saveSettings({ ...loadSettings(), avatar: id });
}

export class JobList {
  /** @type {Map<string, Job>} */
  jobs = new Map();
  /** @type {Map<string, JobCard>} */
  cards = new Map();
  /** Goes up when the watching begins anew. */
  round = 0;

  /** @param {() => void} finished an avatar is new in the gallery */
  constructor(finished) {
    this.finished = finished;
    this.root = byId('jobs');
    this.section = byId('jobs-section');
    this.title = byId('jobs-title');
  }

  /** Watches what is remembered, from now on. */
  async watch() {
    const round = ++this.round;
    while (round === this.round) {
      const ids = recall().jobs;
      for (const id of this.cards.keys()) if (!ids.includes(id)) this.drop(id);
      await Promise.all(ids.filter((id) => !this.isOver(id)).map((id) => this.ask(id)));
      if (round !== this.round) return;
      const open = [...this.jobs.values()].filter((job) => !OVER.has(job.state));
      if (!open.length && ids.every((id) => this.jobs.has(id))) return;
      const first = open.find((job) => job.state === 'running') ?? open[0];
      if (first && !this.lost) await this.ask(first.id, first.tag);
      else await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** @param {string} id */
  isOver(id) {
    return OVER.has(this.jobs.get(id)?.state ?? '');
  }

  /** @param {string} id @param {string} [after] */
  async ask(id, after) {
    try {
      this.take(await fetchJob(id, after));
      this.setLost(false);
    } catch (error) {
      if (/** @type {any} */ (error).status === 404) this.forget(id);
      else this.setLost(true);
    }
  }

  /** @param {boolean} lost */
  setLost(lost) {
    this.lost = lost;
    for (const [id, card] of this.cards) card.setLost(lost && !this.isOver(id));
  }

  /** @param {Job} job */
  take(job) {
    const before = this.jobs.get(job.id);
    this.jobs.set(job.id, job);
    const card = this.cards.get(job.id) ?? this.addCard(job);
    card.update(job);
    this.showSection();
    if (before?.state === job.state) return;
    if (before) announce(`${job.name}: ${stateOf(job)}`);
    if (job.state === 'done') {
      remember((memory) => (memory.keys[job.avatar] = job.id));
      this.finished();
    }
  }

  /** @param {Job} job */
  addCard(job) {
    const card = new JobCard({
      act: (act) => this.act(job.id, act),
      remove: () => this.remove(job.id),
      dismiss: () => this.forget(job.id),
    });
    this.cards.set(job.id, card);
    this.root.prepend(card.element);
    return card;
  }

  /** @param {string} id @param {'cancel'|'retry'} act */
  async act(id, act) {
    try {
      this.take(await actOnJob(id, act));
    } catch (error) {
      this.cards.get(id)?.complain(/** @type {Error} */ (error).message);
    }
    this.watch();
  }

  /** @param {string} id */
  async remove(id) {
    const name = this.jobs.get(id)?.name;
    const sure = await askPerson({ title: fill(SHELF.removeTitle, { name }), text: SHELF.removeText, yes: SHELF.remove, no: SHELF.keep, danger: true });
    if (sure === null) return;
    try {
      await deleteJob(id);
      this.forget(id);
      this.finished();
    } catch (error) {
      this.cards.get(id)?.complain(/** @type {Error} */ (error).message);
    }
  }

  /** @param {string} id */
  forget(id) {
    remember((memory) => (memory.jobs = memory.jobs.filter((each) => each !== id)));
    this.drop(id);
  }

  /** @param {string} id */
  drop(id) {
    this.cards.get(id)?.element.remove();
    this.cards.delete(id);
    this.jobs.delete(id);
    this.showSection();
  }

  showSection() {
    this.section.hidden = this.cards.size === 0;
    this.title.textContent = [...this.jobs.keys()].every((id) => this.isOver(id)) ? JOB.titles.over : JOB.titles.making;
  }
}

/** @param {Job} job */
const stateOf = (job) => fill(JOB[job.state], { position: job.position, stage: /** @type {Record<string, string>} */ (STAGES)[job.stage] ?? job.stage });

/** One job. */
class JobCard {
  /** @param {{act: (act: 'cancel'|'retry') => void, remove: () => void, dismiss: () => void}} listener */
  constructor(listener) {
    this.name = h('h3', {});
    this.state = h('p.job-state', {});
    this.bar = h('progress', { max: 1, value: 0 });
    this.time = h('p.note', {});
    this.message = h('p.problem', { hidden: true });
    this.log = h('pre', { tabIndex: 0 });
    this.logBox = h('details', { hidden: true }, h('summary', {}, JOB.log), this.log);
    this.lost = h('p.problem', { hidden: true }, JOB.lost);
    this.picture = h('img', { alt: JOB.preview, width: 192, height: 192, hidden: true });
    this.play = h('a.button.primary', { href: './', hidden: true }, JOB.play);
    this.cancel = h('button.button.outlined', { type: 'button', onclick: () => listener.act('cancel') }, JOB.cancel);
    this.retry = h('button.button.primary', { type: 'button', onclick: () => listener.act('retry') }, JOB.retry);
    this.remove = h('button.button.outlined', { type: 'button', onclick: listener.remove }, JOB.remove);
    this.dismiss = h('button.button.outlined', { type: 'button', onclick: listener.dismiss }, JOB.dismiss);
    const words = h('div.job-words', {}, this.name, this.state, this.bar, this.time, this.lost, this.message, this.logBox);
    const buttons = h('div.row', {}, this.cancel, this.remove, this.dismiss, this.retry, this.play);
    this.element = h('article.card.job', {}, h('div.job-picture', {}, this.picture), words, buttons);
  }

  /** @param {Job} job */
  update(job) {
    const over = OVER.has(job.state);
    this.element.dataset.state = job.state;
    this.name.textContent = job.name;
    this.state.textContent = stateOf(job);
    this.bar.setAttribute('aria-label', `${job.name}: ${stateOf(job)}`);
    this.bar.hidden = over;
    this.bar.value = job.share;
    this.time.hidden = job.state !== 'running';
    const left = job.remaining_s === null ? JOB.unknown : fill(JOB.left, { time: spell(job.remaining_s) });
    this.time.textContent = `${Math.round(100 * job.share)} % · ${left}`;
    this.message.textContent = job.message;
    this.message.hidden = !job.message;
    this.log.textContent = job.log;
    this.logBox.hidden = !job.log;
    this.cancel.hidden = over;
    this.retry.hidden = job.state !== 'failed' && job.state !== 'cancelled';
    this.remove.hidden = this.retry.hidden;
    this.play.hidden = this.dismiss.hidden = job.state !== 'done';
    this.play.onclick = () => choose(job.avatar);
    this.showPicture(job);
  }

  /** @param {Job} job */
  showPicture(job) {
    const newest = job.previews.at(-1);
    if (newest === undefined || this.shown === newest) return;
    this.shown = newest;
    const next = new Image();
    next.src = previewOf(job.id, newest);
    next.decode().then(
      () => {
        this.picture.src = next.src;
        this.picture.hidden = false;
      },
      () => (this.shown = undefined),
    );
  }

  /** @param {boolean} lost */
  setLost(lost) {
    this.lost.hidden = !lost;
  }

  /** @param {string} message */
  complain(message) {
    this.message.textContent = message || FAILURES.offline;
    this.message.hidden = false;
  }
}
