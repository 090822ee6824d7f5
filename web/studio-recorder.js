/** Records a guided clip with the webcam: what to do is shown step by step, and what the picture lacks is said before and while it is recorded. */

import { CameraError, closeCamera, openCamera } from './camera.js';
import { announce, h } from './studio-dom.js';
import { HEIGHT, hintOf, WIDTH } from './studio-hints.js';
import { FAILURES, fill, GUIDE, HINTS, RECORDING } from './studio-texts.js';

const TYPES = ['video/mp4;codecs=avc1.42E01E', 'video/webm;codecs=vp9', 'video/webm;codecs=vp8', 'video/webm', 'video/mp4'];
const BITS_PER_SECOND = 8_000_000;
const SHARP = { width: { ideal: 1280 }, height: { ideal: 720 } };
const HINT_MS = 500;
const TICK_MS = 200;
const SHORTEST_S = 3;

/** @returns {boolean} */
export const canRecord = () => 'MediaRecorder' in window;

/** @returns {string|undefined} the first kind of video that this browser writes */
const kind = () => TYPES.find((type) => MediaRecorder.isTypeSupported(type));

/** The view of a recording, from asking for the camera to the finished clip. */
export class Recorder {
  /** @param {{finished: (video: Blob, name: string) => void, left: () => void}} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {MediaStream|null} */
    this.stream = null;
    /** @type {MediaRecorder|null} */
    this.recorder = null;
    this.timers = new Set();
    this.video = h('video', { muted: true, playsInline: true, autoplay: true, 'aria-label': 'Your camera' });
    this.hint = h('p.camera-hint', { role: 'status' });
    this.title = h('strong', {});
    this.text = h('span', {});
    this.count = h('span.note', {});
    this.bar = h('progress', { max: 1, value: 0, 'aria-label': 'Recorded so far' });
    this.main = h('button.button.primary', { type: 'button', onclick: () => (this.recorder ? this.stop() : this.start()) }, RECORDING.start);
    this.frame = h('div.camera', {}, this.video, h('div.oval', { 'aria-hidden': 'true' }), this.hint);
    this.element = h(
      'div.recorder',
      { data: { state: 'before' } },
      this.frame,
      h('p.guide', { 'aria-live': 'assertive' }, this.count, this.title, this.text),
      this.bar,
      h('div.row', {}, h('button.button.outlined', { type: 'button', onclick: () => this.leave() }, RECORDING.back), this.main),
    );
  }

  async open() {
    this.text.textContent = RECORDING.asking;
    this.main.disabled = true;
    try {
      this.stream = await openCamera(null);
    } catch (error) {
      const problem = error instanceof CameraError ? error.problem.kind : 'camera_failed';
      this.text.textContent = /** @type {Record<string, string>} */ (FAILURES.camera)[problem] ?? FAILURES.camera.camera_failed;
      this.element.dataset.state = 'failed';
      return;
    }
    if (!this.element.isConnected) return this.close();
    await this.stream.getVideoTracks()[0].applyConstraints(SHARP).catch(() => {}); // a camera that has no sharper picture keeps what it has
    this.video.srcObject = this.stream;
    this.video.addEventListener('resize', () => this.frame.style.setProperty('--ratio', String(this.video.videoWidth / this.video.videoHeight)));
    this.main.disabled = false;
    this.text.textContent = fill(RECORDING.before, { seconds: GUIDE.reduce((sum, step) => sum + step.seconds, 0) });
    this.every(HINT_MS, () => this.look());
  }

  /** @param {number} milliseconds @param {() => void} work */
  every(milliseconds, work) {
    this.timers.add(setInterval(work, milliseconds));
  }

  look() {
    if (this.video.readyState < 2) return;
    const context = (this.canvas ??= h('canvas', { width: WIDTH, height: HEIGHT })).getContext('2d', { willReadFrequently: true });
    context.drawImage(this.video, 0, 0, WIDTH, HEIGHT);
    const hint = hintOf(context.getImageData(0, 0, WIDTH, HEIGHT).data);
    if (this.element.dataset.hint === hint) return;
    this.element.dataset.hint = hint;
    this.hint.textContent = HINTS[hint];
  }

  start() {
    const type = kind();
    this.recorder = new MediaRecorder(/** @type {MediaStream} */ (this.stream), { mimeType: type, videoBitsPerSecond: BITS_PER_SECOND });
    /** @type {Blob[]} */
    const parts = [];
    this.recorder.addEventListener('dataavailable', (event) => parts.push(event.data));
    this.recorder.addEventListener('stop', () => this.finish(new Blob(parts, { type: this.recorder?.mimeType || type })));
    this.stream?.getVideoTracks()[0].addEventListener('ended', () => this.stop());
    this.recorder.start(1000);
    this.began = performance.now();
    this.element.dataset.state = 'recording';
    this.main.textContent = RECORDING.stop;
    this.every(TICK_MS, () => this.guide());
    this.guide();
  }

  /** Shows the step that the moment belongs to; ends after the last. */
  guide() {
    const total = GUIDE.reduce((sum, step) => sum + step.seconds, 0);
    const seconds = this.seconds();
    this.bar.value = seconds / total;
    let end = 0;
    const index = GUIDE.findIndex((step) => seconds < (end += step.seconds));
    if (index < 0) return this.stop();
    if (this.shown !== index) {
      this.shown = index;
      this.title.textContent = GUIDE[index].title;
      this.text.textContent = GUIDE[index].text;
    }
    this.count.textContent = `${fill(RECORDING.step, { number: index + 1, count: GUIDE.length })} · ${fill(RECORDING.left, { seconds: Math.ceil(end - seconds) })}`;
  }

  seconds() {
    return (performance.now() - (this.began ?? performance.now())) / 1000;
  }

  stop() {
    if (this.recorder?.state !== 'inactive') this.recorder?.stop();
  }

  /** @param {Blob} video */
  finish(video) {
    const long = this.seconds() >= SHORTEST_S;
    if (this.left) return;
    if (!long) {
      this.recorder = null;
      this.shown = undefined;
      this.element.dataset.state = 'before';
      this.main.textContent = RECORDING.start;
      this.bar.value = 0;
      this.clear();
      this.every(HINT_MS, () => this.look());
      this.title.textContent = this.count.textContent = '';
      this.text.textContent = RECORDING.short;
      announce(RECORDING.short);
      return;
    }
    this.close();
    this.listener.finished(video, `webcam.${video.type.includes('mp4') ? 'mp4' : 'webm'}`);
  }

  leave() {
    this.left = true;
    this.stop();
    this.close();
    this.listener.left();
  }

  clear() {
    for (const timer of this.timers) clearInterval(timer);
    this.timers.clear();
  }

  close() {
    this.clear();
    closeCamera(this.stream);
    this.stream = null;
  }
}
