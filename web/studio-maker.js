/** From a video to a job: choose or record, send, see what the check says, say whose face it is. One thing at a time, each with a way back. */

import { beginJob, deleteUpload, fetchUpload, Refusal, sendVideo } from './studio-api.js';
import { ConsentFields, field } from './studio-consent.js';
import { announce, byId, h } from './studio-dom.js';
import { recall, remember } from './studio-memory.js';
import { canRecord, Recorder } from './studio-recorder.js';
import { CONSENT, FAILURES, fill, FINDINGS, megabytes, RECORDING, STEPS, TITLES, UPLOAD, VIDEO } from './studio-texts.js';

const POLL_MS = 700;
/** @type {Record<string, number>} which step a view belongs to */
const STEP_OF = { loading: 0, closed: 0, video: 0, recording: 0, review: 0, uploading: 0, checking: 1, refused: 1, consent: 2 };

/** @typedef {import('./studio-api.js').Upload} Upload @typedef {import('./studio-api.js').Finding} Finding */

export class Maker {
  maxBytes = Infinity;
  /** How long a video that is to be kept is kept; 0: until somebody deletes it. */
  expireDays = 0;
  /** Counts views, so that an answer that comes late changes nothing. */
  turn = 0;

  /** @param {(job: import('./studio-api.js').Job) => void} begun */
  constructor(begun) {
    this.begun = begun;
    this.root = byId('maker');
    this.title = byId('maker-title');
    for (const event of ['dragover', 'drop']) window.addEventListener(event, (drag) => drag.preventDefault());
    window.addEventListener('drop', (drag) => this.dropped(/** @type {DragEvent} */ (drag)));
  }

  /** @param {{problem: string, max_upload_bytes: number, consent: import('./studio-consent.js').Pieces, expire_days?: number}} info */
  open(info) {
    this.maxBytes = info.max_upload_bytes;
    this.pieces = info.consent;
    this.expireDays = info.expire_days ?? 0;
    if (info.problem) return this.show('closed', h('p', {}, info.problem));
    const { upload } = recall();
    if (upload) this.watch(upload);
    else this.showVideo();
  }

  /** @param {string} step @param {...(Node|string|null|undefined|false)} children */
  show(step, ...children) {
    const moved = this.step !== undefined && this.step !== step && this.step !== 'loading';
    this.step = step;
    this.turn += 1;
    document.body.dataset.step = step;
    this.title.textContent = /** @type {Record<string, string>} */ (TITLES)[step];
    this.root.replaceChildren(.../** @type {(Node|string)[]} */ (children.filter(Boolean)));
    byId('steps').replaceChildren(...STEPS.map((name, index) => h('li', { 'aria-current': index === STEP_OF[step] ? 'step' : 'false', data: { state: index < STEP_OF[step] ? 'done' : '' } }, name)));
    if (moved) this.title.focus({ preventScroll: true });
    return this.turn;
  }

  /** @param {string} [problem] */
  showVideo(problem) {
    remember((memory) => (memory.upload = null));
    const input = h('input.sr', { type: 'file', accept: 'video/*,.mkv,.mov,.mp4,.webm', id: 'file', onchange: () => this.send(input.files[0], input.files[0].name) });
    this.show(
      'video',
      problem && h('p.problem', { role: 'alert' }, problem),
      h('p', {}, VIDEO.intro),
      h(
        'div.ways',
        {},
        h('button.way', { type: 'button', id: 'record', disabled: !canRecord(), onclick: () => this.record() }, h('span.way-icon', { 'aria-hidden': 'true' }, '●'), VIDEO.record),
        input,
        h('label.way', { for: 'file' }, h('span.way-icon', { 'aria-hidden': 'true' }, '↑'), VIDEO.choose, h('span.note', {}, VIDEO.drop)),
      ),
      !canRecord() && h('p.note', {}, RECORDING.none),
      h('p.note', {}, VIDEO.privacy),
    );
  }

  /** @param {DragEvent} drag */
  dropped(drag) {
    const file = drag.dataTransfer?.files[0];
    if (file && this.step === 'video') this.send(file, file.name);
  }

  record() {
    const recorder = new Recorder({ finished: (video, name) => this.review(video, name), left: () => this.showVideo() });
    this.show('recording', recorder.element);
    recorder.open();
    window.addEventListener('pagehide', () => recorder.close(), { once: true });
  }

  /** @param {Blob} video @param {string} name */
  review(video, name) {
    const address = URL.createObjectURL(video);
    const leave = (/** @type {() => void} */ next) => {
      URL.revokeObjectURL(address);
      next();
    };
    this.show(
      'review',
      h('video.review', { src: address, controls: true, playsInline: true, muted: true, 'aria-label': 'Your recording' }),
      h(
        'div.row',
        {},
        h('button.button.outlined', { type: 'button', onclick: () => leave(() => this.record()) }, RECORDING.again),
        h('button.button.primary', { type: 'button', onclick: () => leave(() => this.send(video, name)) }, RECORDING.use),
      ),
    );
  }

  /** @param {Blob|undefined} video @param {string} name */
  async send(video, name) {
    if (!video) return;
    if (video.size > this.maxBytes) return this.showVideo(fill(FAILURES.tooLarge, { size: megabytes(video.size), limit: megabytes(this.maxBytes) }));
    const bar = h('progress', { max: video.size, value: 0, 'aria-label': TITLES.uploading });
    const note = h('p.note', {});
    const sending = sendVideo(video, name, (sent) => {
      bar.value = sent;
      note.textContent = sent < video.size ? fill(UPLOAD.sent, { sent: megabytes(sent), total: megabytes(video.size) }) : UPLOAD.looking;
    });
    this.show('uploading', bar, note, h('div.row', {}, h('button.button.outlined', { type: 'button', onclick: () => sending.abort() }, UPLOAD.cancel)));
    try {
      const upload = await sending.done;
      remember((memory) => (memory.upload = upload.id));
      await this.watch(upload.id, upload);
    } catch (error) {
      this.showVideo(/** @type {Error} */ (error).name === 'AbortError' ? undefined : /** @type {Error} */ (error).message);
    }
  }

  /** Waits for the check of an upload, and shows what it says. @param {string} id @param {Upload} [known] */
  async watch(id, known) {
    const turn = this.show('checking', h('div.waiting', {}, h('div.spinner', { 'aria-hidden': 'true' }), h('p', {}, UPLOAD.checking)));
    for (let upload = known; this.turn === turn; ) {
      try {
        upload = await fetchUpload(id);
      } catch (error) {
        if (/** @type {Refusal} */ (error).status === 404) return this.showVideo(FAILURES.gone);
      }
      if (this.turn !== turn) return;
      if (upload && upload.state !== 'checking') return this.checked(upload);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** @param {Upload} upload */
  checked(upload) {
    const another = h('button.button.outlined', { type: 'button', onclick: () => this.discard(upload) }, FINDINGS.another);
    if (upload.state === 'refused') {
      this.show('refused', upload.message && h('p.problem', {}, upload.message), findingsOf(upload), h('div.row', {}, another));
      announce(TITLES.refused);
      return;
    }
    this.show('consent', findingsOf(upload), this.form(upload, another));
  }

  /** @param {Upload} upload */
  async discard(upload) {
    this.showVideo();
    await deleteUpload(upload.id).catch(() => {}); // forgotten by the server after a day anyway
  }

  /** @param {Upload} upload @param {HTMLElement} another */
  form(upload, another) {
    const name = h('input', { type: 'text', id: 'avatar-name', maxLength: 64, required: true, autocomplete: 'off', pattern: '[\\p{L}\\p{N}_][\\p{L}\\p{N}_ .\\-]*' });
    const consent = new ConsentFields(/** @type {import('./studio-consent.js').Pieces} */ (this.pieces));
    const forget = h('input', { type: 'checkbox', id: 'forget', checked: true, 'aria-describedby': 'forget-hint' });
    const forgetHint = h('span.note', { id: 'forget-hint' });
    const preset = h('select', { id: 'preset' }, h('option', { value: 'quick' }, CONSENT.quick), h('option', { value: 'full' }, CONSENT.full));
    const problem = h('p.problem', { role: 'alert', hidden: true, tabIndex: -1 });
    const make = h('button.button.primary', { type: 'submit', id: 'make' }, CONSENT.make);
    const swap = () => {
      consent.update();
      forgetHint.textContent = forget.checked ? CONSENT.forgetHint : fill(this.expireDays ? CONSENT.keepDaysHint : CONSENT.keepHint, { days: this.expireDays });
    };
    const wish = () => ({
      upload: upload.id,
      name: name.value.trim(),
      ...consent.wish,
      preset: preset.value,
      keep_video: !forget.checked,
    });
    swap();
    return h(
      'form.consent',
      {
        onchange: swap,
        oninput: swap,
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          make.disabled = true;
          problem.hidden = true;
          try {
            const job = await beginJob(wish());
            remember((memory) => {
              memory.upload = null;
              memory.jobs = [...new Set([...memory.jobs, job.id])];
            });
            this.showVideo();
            this.begun(job);
          } catch (error) {
            if (/** @type {Refusal} */ (error).status === 404) return this.showVideo(FAILURES.gone);
            problem.textContent = /** @type {Error} */ (error).message;
            problem.hidden = false;
            make.disabled = false;
            problem.focus();
          }
        },
      },
      field(name, CONSENT.name, CONSENT.nameHint),
      field(preset, CONSENT.preset),
      ...consent.elements,
      h('label.agree', {}, forget, h('span', {}, CONSENT.forget, h('br'), forgetHint)),
      problem,
      h('div.row', {}, another, make),
    );
  }
}

/** @param {Upload} upload */
function findingsOf(upload) {
  const { findings, state } = upload;
  const said = state === 'unchecked' ? FINDINGS.unchecked : state === 'refused' ? FINDINGS.refused : findings.length ? FINDINGS.usable : FINDINGS.good;
  const shown = state === 'refused' ? findings.filter((finding) => finding.refuses) : findings;
  return h(
    'div.findings',
    { data: { state: state === 'good' && !findings.length ? 'best' : state } },
    h('p', {}, h('strong', {}, upload.name), ` · ${megabytes(upload.bytes)} MB`),
    h('p', {}, said),
    shown.length > 0 && h('ul', {}, ...shown.map(finding)),
  );
}

/** @param {Finding} one */
const finding = (one) =>
  h('li', {}, h('strong', {}, `${one.found[0].toUpperCase()}${one.found.slice(1)}. `), `${one.instead}. `, h('span.note', {}, fill(FINDINGS.needed, { needed: one.needed })));
