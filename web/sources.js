/**
 * What moves the avatar: the camera, a video file, or the sliders alone.
 *
 * @typedef {'camera'|'file'|'sliders'} Source
 */

import { FILE, SOURCES } from './messages.js';

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {number} seconds @returns {string} such as `1:05` */
export function clockTime(seconds) {
  const whole = Math.floor(Number.isFinite(seconds) ? seconds : 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** The choice of the source, and the controls of a file. */
export class SourcePicker {
  /**
   * @param {import('./filedriver.js').FileDriver} driver
   * @param {{chosen: (source: Source) => void, notice: (text: string) => void}} handlers `chosen`: file only once there is one that plays
   */
  constructor(driver, handlers) {
    this.driver = driver;
    this.handlers = handlers;
    const file = element('file');
    element('sources').addEventListener('change', (/** @type {Event} */ event) => this.#choose(/** @type {HTMLInputElement} */ (event.target).value));
    element('sources').addEventListener('click', (/** @type {Event} */ event) => {
      const byPointer = /** @type {MouseEvent} */ (event).detail > 0; // with arrow keys one may only be passing by
      if (/** @type {HTMLInputElement} */ (event.target).value === 'file' && !driver.loaded && byPointer) file.click();
    });
    element('file-choose').addEventListener('click', () => file.click());
    file.addEventListener('change', () => this.#load(file.files?.[0]));
    element('file-play').addEventListener('click', () => driver.toggle());
    element('file-loop').addEventListener('change', () => (driver.video.loop = element('file-loop').checked));
    element('file-seek').addEventListener('input', () => (driver.video.currentTime = element('file-seek').valueAsNumber));
  }

  /** @type {Source} */
  source = 'camera';
  /** A file is wanted, but none was chosen yet: until then the source before goes on. */
  #wanted = false;

  /** @param {Source} source the one that is in force */
  show(source) {
    this.source = source;
    const shown = this.#wanted ? 'file' : source;
    for (const input of element('sources').querySelectorAll('input')) input.checked = input.value === shown;
    element('file-controls').hidden = shown !== 'file';
    element('file-controls').classList.toggle('empty', !this.driver.loaded);
    element('camera-picker').hidden = shown !== 'camera';
    element('preview-toggle').hidden = source === 'sliders';
    element('privacy-text').textContent = SOURCES[source].privacy;
    element('preview').setAttribute('aria-label', SOURCES[source].preview);
    this.showFile();
  }

  showFile() {
    const { video, name } = this.driver;
    element('file-name').textContent = name || FILE.none;
    element('file-choose').textContent = name ? FILE.another : FILE.choose;
    const play = element('file-play');
    play.querySelector('use').setAttribute('href', video.paused ? '#i-play' : '#i-pause');
    play.setAttribute('aria-label', video.paused ? FILE.play : FILE.pause);
    const seek = element('file-seek');
    seek.max = String(Number.isFinite(video.duration) ? video.duration : 0);
    seek.value = String(video.currentTime);
    seek.style.setProperty('--to', String(video.duration ? video.currentTime / video.duration : 0));
    const time = `${clockTime(video.currentTime)} / ${clockTime(video.duration)}`;
    seek.setAttribute('aria-valuetext', time);
    element('file-time').textContent = time;
  }

  /** @param {string} source */
  #choose(source) {
    this.#wanted = source === 'file' && !this.driver.loaded;
    if (this.#wanted) this.show(this.source);
    else this.handlers.chosen(/** @type {Source} */ (source));
  }

  /** @param {File|undefined} file */
  async #load(file) {
    if (!file) return;
    element('file').value = '';
    try {
      await this.driver.load(file);
    } catch (error) {
      this.handlers.notice(/** @type {Error} */ (error).message);
      return;
    }
    this.#wanted = false;
    this.handlers.chosen('file');
  }
}
