/**
 * The avatar's picture, with the microphone's sound in time with it, as a file.
 *
 * @typedef {{mimeType: string, suffix: string, oneSize: boolean}} Format  oneSize: its picture cannot change its size
 */

/**
 * Best first: what plays everywhere, then what costs least to make. The picture's size may change with the network. That breaks `avc1`; `avc3` takes it, but
 * not every player takes that: it is made only where the server makes an `avc1` of one size of it, with the credentials.
 */
const FORMATS = [
  { video: 'video/mp4;codecs=avc3.42E01F', sound: ',mp4a.40.2', suffix: 'mp4', toSign: true },
  { video: 'video/mp4;codecs=avc1.42E01F', sound: ',mp4a.40.2', suffix: 'mp4', oneSize: true },
  { video: 'video/webm;codecs=vp8', sound: ',opus', suffix: 'webm' },
  { video: 'video/webm;codecs=vp9', sound: ',opus', suffix: 'webm' },
  { video: 'video/webm', sound: '', suffix: 'webm' },
  { video: 'video/mp4', sound: '', suffix: 'mp4' },
];
const PIECE_MS = 1000;
const SOUND_START_MS = 3000;
const VIDEO_BPS = 4_000_000;
const SOUND_BPS = 128_000;
/** It is all kept in memory until it is saved. */
export const MOST_BYTES = 1_000_000_000;

/** @param {boolean} sound @param {boolean} toSign whether the server is to sign it @returns {Format|null} null: this browser cannot record */
export function formatFor(sound, toSign) {
  if (!('MediaRecorder' in window)) return null;
  const made = FORMATS.filter((format) => toSign || !format.toSign).map(({ video, sound: codec, suffix, oneSize = false }) => ({
    mimeType: video + (sound ? codec : ''),
    suffix,
    oneSize,
  }));
  return made.find(({ mimeType }) => MediaRecorder.isTypeSupported(mimeType)) ?? null;
}

/** The microphone, delayed; asked for only here. */
export class DelayedMicrophone {
  /** @param {MediaStream} stream @param {AudioContext} context @param {DelayNode} delay @param {MediaStreamAudioDestinationNode} out */
  constructor(stream, context, delay, out) {
    this.stream = stream;
    this.context = context;
    this.delay = delay;
    this.track = out.stream.getAudioTracks()[0];
  }

  /** @param {number} delayMs @throws {DOMException} it is not allowed, there is none, or no sound goes through this browser */
  static async open(delayMs) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: true, autoGainControl: true }, video: false });
    const context = new AudioContext();
    try {
      await running(context);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      context.close().catch(() => {});
      throw error;
    }
    const delay = context.createDelay(5);
    const out = context.createMediaStreamDestination();
    context.createMediaStreamSource(stream).connect(delay).connect(out);
    const microphone = new DelayedMicrophone(stream, context, delay, out);
    delay.delayTime.value = microphone.#seconds(delayMs);
    return microphone;
  }

  /** The picture's delay changed: follow it, so slowly that nobody hears it. @param {number} delayMs */
  follow(delayMs) {
    this.delay.delayTime.setTargetAtTime(this.#seconds(delayMs), this.context.currentTime, 3);
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close().catch(() => {});
  }

  /** What the microphone itself is late by is taken off. @param {number} delayMs */
  #seconds(delayMs) {
    const own = /** @type {{latency?: number}} */ (this.stream.getAudioTracks()[0].getSettings()).latency ?? 0;
    return Math.min(Math.max(delayMs / 1000 - own, 0), 5);
  }
}

/** Browsers without a device for sound may wait for one for ever. @param {AudioContext} context @throws {DOMException} it does not begin */
function running(context) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new DOMException('no sound begins', 'TimeoutError')), SOUND_START_MS));
  return Promise.race([context.resume(), late]);
}

/** One recording. */
export class Recording {
  /** @type {Blob[]} */
  #pieces = [];
  #resized = false;
  bytes = 0;
  began = performance.now();

  /**
   * @param {MediaStreamTrack} video it is left as it is
   * @param {DelayedMicrophone|null} microphone it is closed at the end
   * @param {Format} format
   * @param {{progress: () => void, ended: (file: Blob, why: 'asked'|'full'|'broken'|'resized') => void, failed: () => void}} handlers of `ended` and `failed` one is called, once
   */
  constructor(video, microphone, format, handlers) {
    this.microphone = microphone;
    this.format = format;
    const tracks = [video, ...(microphone ? [microphone.track] : [])];
    this.recorder = new MediaRecorder(new MediaStream(tracks), { mimeType: format.mimeType, videoBitsPerSecond: VIDEO_BPS, audioBitsPerSecond: SOUND_BPS });
    let broken = false;
    this.recorder.addEventListener('dataavailable', ({ data }) => {
      this.#pieces.push(data);
      this.bytes += data.size;
      handlers.progress();
      if (this.bytes > MOST_BYTES) this.stop();
    });
    this.recorder.addEventListener('error', () => (broken = true));
    this.recorder.addEventListener('stop', () => {
      microphone?.close();
      if (this.bytes === 0) return handlers.failed();
      const why = broken ? 'broken' : this.#resized ? 'resized' : this.bytes > MOST_BYTES ? 'full' : 'asked';
      handlers.ended(new Blob(this.#pieces, { type: format.mimeType.split(';')[0] }), why);
    });
    video.addEventListener('ended', () => this.stop());
    this.recorder.start(PIECE_MS);
  }

  /** @returns {number} */
  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** The picture has another size: what would come now could not be looked at in some formats. */
  resize() {
    if (!this.format.oneSize) return;
    this.#resized = true;
    this.stop();
  }

  stop() {
    if (this.recorder.state !== 'inactive') this.recorder.stop();
  }
}

/** @param {HTMLVideoElement} video @returns {Promise<Blob>} what it shows now, as PNG */
export function snapshot(video) {
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d', { alpha: false })?.drawImage(video, 0, 0);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture'))), 'image/png'));
}

/** @param {string} avatar @param {string} suffix @param {Date} now @returns {string} such as `headcast-mara-2026-01-31-142500.webm` */
export function fileName(avatar, suffix, now) {
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0');
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join('-');
  return ['headcast', avatar, day, [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join('')].filter(Boolean).join('-') + `.${suffix}`;
}

/** @param {Blob} file @param {string} name */
export function save(file, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(file), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
