/** The card that records and takes pictures: what it offers, what it says, and what comes of it. */

import { RECORD } from './messages.js';
import { DelayedMicrophone, fileName, formatFor, MOST_BYTES, Recording, save, snapshot } from './record.js';
import { clockTime } from './sources.js';

const TICK_MS = 250;
/** Until the delay was measured: about what a good network and a quiet machine make of it. */
const USUAL_DELAY_MS = 80;
const WORTH_FOLLOWING_MS = 12;

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {number} bytes */
const sizeText = (bytes) => (bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** Buttons, a light on the picture, and at most one recording. */
export class RecordingCard {
  /** @type {Recording|null} */
  #recording = null;
  #starting = false;
  #timer = 0;
  #delayMs = USUAL_DELAY_MS;
  #followedMs = 0;
  #playing = false;

  /**
   * @param {HTMLVideoElement} video the avatar
   * @param {{avatar: () => string, notice: (text: string, icon?: 'check'|'alert') => void}} handlers
   */
  constructor(video, handlers) {
    this.video = video;
    this.handlers = handlers;
    element('record').addEventListener('click', () => this.toggle());
    element('snapshot').addEventListener('click', () => this.shoot());
    if (!formatFor(false)) element('record-note').textContent = RECORD.unable;
    this.render();
  }

  /** @param {boolean} playing whether there is an avatar to record */
  setPlaying(playing) {
    if (playing === this.#playing) return;
    this.#playing = playing;
    if (!playing) this.#recording?.stop();
    this.render();
  }

  /** @param {number|null} delayMs how late the picture is, as far as is known */
  setDelay(delayMs) {
    if (delayMs === null) return;
    this.#delayMs = delayMs;
    if (!this.#recording?.microphone || Math.abs(delayMs - this.#followedMs) < WORTH_FOLLOWING_MS) return;
    this.#followedMs = delayMs;
    this.#recording.microphone.follow(delayMs);
  }

  toggle() {
    if (this.#recording) this.#recording.stop();
    else this.#start();
  }

  async shoot() {
    if (!this.#playing) return;
    try {
      save(await snapshot(this.video), fileName(this.handlers.avatar(), 'png', new Date()));
      this.handlers.notice(RECORD.shot);
    } catch {
      this.handlers.notice(RECORD.noPicture, 'alert');
    }
  }

  render() {
    const recording = this.#recording;
    const button = element('record');
    button.disabled = this.#starting || !this.#playing || !formatFor(false);
    button.setAttribute('aria-pressed', String(recording !== null));
    button.querySelector('use').setAttribute('href', recording ? '#i-stop' : '#i-record');
    button.querySelector('span').textContent = recording ? RECORD.stop : RECORD.start;
    element('snapshot').disabled = !this.#playing;
    element('record-sound').disabled = recording !== null || this.#starting;
    element('recording').hidden = recording === null;
    element('recording-text').textContent = recording ? `${clockTime(recording.seconds)} · ${sizeText(recording.bytes)}` : '';
    document.body.toggleAttribute('data-recording', recording !== null);
  }

  async #start() {
    const [track] = /** @type {MediaStream|null} */ (this.video.srcObject)?.getVideoTracks() ?? [];
    const sound = element('record-sound').checked;
    const format = formatFor(sound);
    if (this.#starting || !this.#playing || !track || !format) return;
    this.#starting = true;
    this.render();
    try {
      const microphone = sound ? await DelayedMicrophone.open(this.#delayMs) : null;
      if (track.readyState === 'live') this.#record(track, microphone, format);
      else microphone?.close();
    } catch (error) {
      this.handlers.notice(RECORD.problems[/** @type {DOMException} */ (error).name] ?? RECORD.failed, 'alert');
    }
    this.#starting = false;
    this.render();
  }

  /** @param {MediaStreamTrack} track @param {DelayedMicrophone|null} microphone @param {import('./record.js').Format} format */
  #record(track, microphone, format) {
    const name = fileName(this.handlers.avatar(), format.suffix, new Date());
    this.#followedMs = this.#delayMs;
    document.body.dataset.soundDelay = microphone ? String(Math.round(this.#delayMs)) : '';
    this.#recording = new Recording(track, microphone, format, {
      progress: () => this.render(),
      ended: (file, why) => {
        this.#ended();
        save(file, name);
        const news = { asked: RECORD.saved(name, sizeText(file.size)), full: RECORD.full(sizeText(MOST_BYTES)), broken: RECORD.broken };
        this.handlers.notice(news[why], why === 'asked' ? 'check' : 'alert');
      },
      failed: () => {
        this.#ended();
        this.handlers.notice(RECORD.failed, 'alert');
      },
    });
    this.handlers.notice(RECORD.started);
    this.#timer = window.setInterval(() => this.render(), TICK_MS);
  }

  #ended() {
    clearInterval(this.#timer);
    this.#recording = null;
    this.render();
  }
}
