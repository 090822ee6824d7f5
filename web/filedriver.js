/**
 * A video file in the camera's place: it plays in the page, and what it shows is drawn to a canvas whose stream is sent as the camera's would be.
 * The file itself goes nowhere.
 */

import { FILE } from './messages.js';

const WIDTH = 640;
const HEIGHT = 480;
const FPS = 30;
/** A video that stands still is drawn this often all the same: a connection that is made meanwhile needs a picture. */
const STILL_MS = 500;
const LOAD_MS = 15000;

/** @param {number} width @param {number} height @returns {[number, number]} even, as large as fits into the camera's usual picture */
function fitted(width, height) {
  const [most, least] = width >= height ? [WIDTH, HEIGHT] : [HEIGHT, WIDTH];
  const scale = Math.min(most / width, least / height, 1);
  return [2 * Math.max(1, Math.round((width * scale) / 2)), 2 * Math.max(1, Math.round((height * scale) / 2))];
}

/** Plays one file at a time. */
export class FileDriver {
  video = Object.assign(document.createElement('video'), { muted: true, loop: true, playsInline: true, preload: 'auto' });
  #canvas = document.createElement('canvas');
  #address = '';
  #still = 0;
  #drawing = 0;
  name = '';

  /** @param {() => void} changed called when it plays, stands, moves on or repeats */
  constructor(changed) {
    for (const event of ['play', 'pause', 'timeupdate', 'seeked', 'durationchange', 'volumechange']) this.video.addEventListener(event, changed);
    for (const event of ['seeked', 'loadeddata']) this.video.addEventListener(event, () => this.#draw());
  }

  /** @returns {boolean} */
  get loaded() {
    return this.#address !== '';
  }

  /**
   * Take another file.
   *
   * @param {File} file
   * @throws {Error} the browser cannot play it; the file before is kept
   */
  async load(file) {
    const address = URL.createObjectURL(file);
    const probe = Object.assign(document.createElement('video'), { muted: true, preload: 'auto', src: address });
    try {
      await ready(probe);
    } catch {
      URL.revokeObjectURL(address);
      throw new Error(FILE.unplayable(file.name));
    } finally {
      probe.removeAttribute('src');
      probe.load();
    }
    if (this.#address) URL.revokeObjectURL(this.#address);
    [this.#address, this.name] = [address, file.name];
    this.video.src = address;
    await ready(this.video);
    [this.#canvas.width, this.#canvas.height] = fitted(this.video.videoWidth, this.video.videoHeight);
  }

  /** Play, from where it stands. @returns {MediaStream} what it shows, until it is stopped or another is opened */
  open() {
    this.#draw();
    const stream = this.#canvas.captureStream(FPS);
    for (const track of stream.getVideoTracks()) track.contentHint = 'motion';
    this.#watch();
    this.video.play().catch(() => {}); // the button says that it stands
    return stream;
  }

  /** Stand still, and draw no more. */
  close() {
    clearInterval(this.#still);
    this.#still = 0;
    this.video.pause();
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  /** Draw each frame when it is shown; where the browser does not say when, at its own pace. */
  #watch() {
    clearInterval(this.#still);
    this.#still = window.setInterval(() => this.video.paused && this.#draw(), STILL_MS);
    const turn = ++this.#drawing;
    const next = () => {
      if (turn !== this.#drawing || !this.#still) return;
      this.#draw();
      ask();
    };
    const ask = () => ('requestVideoFrameCallback' in this.video ? this.video.requestVideoFrameCallback(next) : requestAnimationFrame(next));
    ask();
  }

  #draw() {
    if (this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.#canvas.getContext('2d', { alpha: false })?.drawImage(this.video, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}

/** @param {HTMLVideoElement} video resolves when it has a first picture */
function ready(video) {
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && video.videoWidth) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('timeout')), LOAD_MS);
    const settle = (/** @type {() => void} */ done) => () => (clearTimeout(timer), done());
    video.addEventListener('loadeddata', settle(() => (video.videoWidth ? resolve(undefined) : reject(new Error('no picture')))), { once: true });
    video.addEventListener('error', settle(() => reject(new Error('error'))), { once: true });
  });
}
