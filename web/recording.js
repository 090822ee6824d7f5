/** The card that records and takes pictures: what it offers, what it says, and what comes of it. */

import { signed } from './credentials.js';
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
  #signing = 0;

  /**
   * `refusal`: why nothing of this avatar may be kept, or ''.
   *
   * @param {HTMLVideoElement} video the avatar
   * @param {{avatar: () => string, refusal: () => string, notice: (text: string, icon?: 'check'|'alert') => void}} handlers
   */
  constructor(video, handlers) {
    this.video = video;
    this.handlers = handlers;
    element('record').addEventListener('click', () => this.toggle());
    element('snapshot').addEventListener('click', () => this.shoot());
    element('record-signed').addEventListener('change', () => this.#note());
    video.addEventListener('resize', () => this.#recording?.resize());
    window.addEventListener('beforeunload', (event) => this.#signing > 0 && event.preventDefault());
    this.#note();
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

  /** Another avatar is worn. */
  changed() {
    if (this.handlers.refusal()) this.#recording?.stop();
  }

  toggle() {
    if (this.#recording) this.#recording.stop();
    else if (!this.#refused()) this.#start();
  }

  /** Whether nothing may be kept; then it is said. */
  #refused() {
    const why = this.#playing && this.handlers.refusal();
    if (why) this.handlers.notice(why, 'alert');
    return Boolean(why);
  }

  async shoot() {
    if (!this.#playing || this.#refused()) return;
    try {
      const name = fileName(this.handlers.avatar(), 'png', new Date());
      const { asked, holds } = await this.#save(await snapshot(this.video), name);
      this.handlers.notice(RECORD.shot + RECORD.credentials(asked, holds), asked && !holds ? 'alert' : 'check');
    } catch {
      this.handlers.notice(RECORD.noPicture, 'alert');
    }
  }

  render() {
    const recording = this.#recording;
    const button = element('record');
    button.disabled = this.#starting || !this.#playing || !formatFor(false, false);
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
    const format = formatFor(sound, element('record-signed').checked);
    if (this.#starting || !this.#playing || !track || !format) return;
    this.#starting = true;
    this.render();
    /** @type {DelayedMicrophone|null} */
    let microphone = null;
    try {
      microphone = sound ? await DelayedMicrophone.open(this.#delayMs) : null;
      if (track.readyState === 'live') this.#record(track, microphone, format);
      else microphone?.close();
    } catch (error) {
      microphone?.close();
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
        this.#keep(file, name, why);
      },
      failed: () => {
        this.#ended();
        this.handlers.notice(RECORD.failed, 'alert');
      },
    });
    this.handlers.notice(RECORD.started);
    this.#timer = window.setInterval(() => this.render(), TICK_MS);
  }

  /** @param {Blob} file @param {string} name @param {'asked'|'full'|'broken'|'resized'} why */
  async #keep(file, name, why) {
    if (element('record-signed').checked) this.handlers.notice(RECORD.signing);
    const { asked, holds, name: savedAs, bytes } = await this.#save(file, name);
    const news = { asked: RECORD.saved(savedAs, sizeText(bytes)), full: RECORD.full(sizeText(MOST_BYTES)), broken: RECORD.broken, resized: RECORD.resized };
    this.handlers.notice(news[why] + RECORD.credentials(asked, holds), why === 'asked' && (holds || !asked) ? 'check' : 'alert');
  }

  /**
   * With content credentials where they are wanted and the server gives them, as it is otherwise.
   *
   * @param {Blob} file @param {string} name
   * @returns {Promise<{asked: boolean, holds: boolean, name: string, bytes: number}>} whether credentials were asked for, and are in it
   */
  async #save(file, name) {
    const asked = element('record-signed').checked;
    this.#signing++;
    const made = asked ? await signed(file, this.handlers.avatar()) : null;
    this.#signing--;
    const savedAs = made ? name.replace(/\w+$/, made.suffix) : name;
    save(made?.file ?? file, savedAs);
    return { asked, holds: made !== null, name: savedAs, bytes: (made?.file ?? file).size };
  }

  #note() {
    element('record-note').textContent = formatFor(false, false) ? RECORD.note[element('record-signed').checked ? 'signed' : 'plain'] : RECORD.unable;
  }

  #ended() {
    clearInterval(this.#timer);
    this.#recording = null;
    this.render();
  }
}
