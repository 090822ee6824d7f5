/** Draws the state into the page. Holds elements, decides nothing. */

import { rightsOf } from './gallery.js';
import { describe, SOURCES } from './messages.js';
import { isActive } from './state.js';

/** @typedef {import('./state.js').State} State */

const SOURCE_ICONS = { camera: 'camera', file: 'film', sliders: 'sliders' };
const TOAST_MS = 2600;
/** For each letter, where that is more. */
const READING_MS = 50;

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {Element} button @param {string} icon @param {string} text */
function setButton(button, icon, text) {
  button.querySelector('use')?.setAttribute('href', `#i-${icon}`);
  const label = button.querySelector('span');
  if (label) label.textContent = text;
}

/** Every element that changes, by what it is. */
export class View {
  stage = element('stage');
  avatarVideo = element('avatar');
  previewVideo = element('preview');
  poster = element('poster');
  power = element('power');
  calibrate = element('calibrate');
  mirror = element('mirror');
  pause = element('pause');
  hud = element('hud');
  hudToggle = element('hud-toggle');
  cleanToggle = element('clean-toggle');
  previewToggle = element('preview-toggle');
  help = element('help');
  cameraSelect = element('camera');
  messageAction = element('message-action');
  strengths = element('strengths');
  strengthNote = element('strength-note');
  strengthReset = element('strength-reset');
  #toastTimer = 0;

  constructor() {
    for (const type of ['loadeddata', 'resize']) this.avatarVideo.addEventListener(type, () => this.#pictureArrived());
    this.previewVideo.addEventListener('resize', () => {
      const { videoWidth, videoHeight } = this.previewVideo;
      this.previewVideo.parentElement.classList.toggle('upright', videoHeight > videoWidth);
    });
  }

  /** @param {State} state @param {string} avatarName */
  render(state, avatarName) {
    const description = describe(state, avatarName);
    document.body.dataset.phase = state.phase;
    document.body.dataset.tracking = state.tracking;
    document.body.dataset.lock = state.lock;
    document.body.dataset.source = state.source;
    document.title = state.phase === 'idle' ? 'Headcast' : `${description.label} – Headcast`;
    element('status').dataset.tone = description.tone;
    element('status-text').textContent = description.label;
    if (element('announcer').textContent !== description.spoken) element('announcer').textContent = description.spoken;
    this.#renderMessage(description.message, description.tone);
    this.#renderHint(description.hint);
    this.#renderButtons(state);
  }

  /** @param {HTMLVideoElement} video @param {MediaStream|null} stream */
  play(video, stream) {
    if (video === this.avatarVideo) delete document.body.dataset.picture;
    if (video === this.previewVideo) document.body.toggleAttribute('data-camera', stream !== null);
    video.srcObject = stream;
    if (stream) video.play().catch(() => {}); // replaced by the next stream before it played
  }

  /** @param {{mirror: boolean, hud: boolean, preview: boolean}} settings */
  renderSettings({ mirror, hud, preview }) {
    this.mirror.setAttribute('aria-pressed', String(mirror));
    this.hudToggle.setAttribute('aria-pressed', String(hud));
    this.hud.hidden = !hud;
    document.body.toggleAttribute('data-mirror', mirror);
    document.body.toggleAttribute('data-preview', preview);
    this.previewToggle.setAttribute('aria-expanded', String(preview));
    this.previewToggle.textContent = preview ? 'Hide preview' : 'Show preview';
  }

  /** @param {{id: string, label: string}[]} cameras @param {string|null} current */
  renderCameras(cameras, current) {
    const options = cameras.length ? cameras : [{ id: '', label: 'Default camera' }];
    this.cameraSelect.replaceChildren(...options.map(({ id, label }) => new Option(label, id, false, id === current)));
    this.cameraSelect.disabled = cameras.length === 0;
  }

  /** @param {import('./gallery.js').Avatar|undefined} avatar */
  renderAvatar(avatar) {
    element('avatar-name').textContent = avatar?.name ?? '';
    element('avatar-note').textContent = avatar?.description ?? '';
    element('avatar-rights').textContent = avatar ? rightsOf(avatar) : '';
  }

  /** @param {string} label */
  renderBackground(label) {
    element('background-name').textContent = label;
  }

  /** @param {number|null} left */
  showCount(left) {
    element('count').hidden = left === null;
    element('count-number').textContent = left === null ? '' : String(left);
  }

  /** @param {string} text @param {'check'|'alert'} [icon] */
  toast(text, icon = 'check') {
    const toast = element('toast');
    element('toast-text').textContent = text;
    element('announcer').textContent = text;
    toast.querySelector('use').setAttribute('href', `#i-${icon}`);
    toast.hidden = false;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => (toast.hidden = true), Math.max(TOAST_MS, READING_MS * text.length));
  }

  /** @param {boolean} clean @param {string|null} surround colour around the picture; null: black */
  setClean(clean, surround) {
    document.body.toggleAttribute('data-clean', clean);
    document.body.style.setProperty('--surround', clean && surround ? surround : '');
  }

  #pictureArrived() {
    if (this.avatarVideo.videoWidth > 0) document.body.dataset.picture = 'yes';
  }

  /** @param {import('./messages.js').Message|null} message @param {string} tone */
  #renderMessage(message, tone) {
    const box = element('message');
    box.hidden = message === null;
    if (!message) return;
    box.dataset.tone = tone;
    element('message-title').textContent = message.title;
    element('message-text').textContent = message.text;
    element('message-detail').textContent = message.detail ?? '';
    element('message-icon').toggleAttribute('hidden', message.icon === null);
    if (message.icon) element('message-icon').firstElementChild.setAttribute('href', `#i-${message.icon}`);
    element('spinner').hidden = tone !== 'busy';
    this.messageAction.hidden = !message.action;
    this.messageAction.textContent = message.action?.label ?? '';
    this.messageAction.dataset.act = message.action?.act ?? '';
  }

  /** @param {{title: string, text: string, icon: string}|null} hint */
  #renderHint(hint) {
    const box = element('hint');
    box.hidden = hint === null;
    if (!hint) return;
    box.querySelector('use').setAttribute('href', `#i-${hint.icon}`);
    element('hint-title').textContent = hint.title;
    element('hint-text').textContent = hint.text;
  }

  /** @param {State} state */
  #renderButtons(state) {
    const active = isActive(state);
    const paused = state.phase === 'paused';
    setButton(this.power, active ? 'stop' : SOURCE_ICONS[state.source], active ? 'Stop' : SOURCES[state.source].start);
    this.power.classList.toggle('primary', !active);
    const driven = state.source !== 'sliders';
    this.calibrate.disabled = state.phase !== 'live' || !driven;
    this.pause.disabled = (state.phase !== 'live' || !driven) && !paused;
    setButton(this.pause, paused ? 'play' : 'pause', paused ? 'Resume' : 'Pause');
  }
}
