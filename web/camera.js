/** The webcam: opening it, naming the devices, and saying what went wrong. */

/** @typedef {import('./state.js').Problem} Problem */

const PICTURE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** A camera that could not be opened. */
export class CameraError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.kind);
    this.problem = problem;
  }
}

/** @param {unknown} error what getUserMedia rejected with @returns {Problem} */
function problemOf(error) {
  const { name, message } = /** @type {DOMException} */ (error);
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return { kind: /system/i.test(message) ? 'denied_by_system' : 'denied' };
    case 'NotFoundError':
    case 'OverconstrainedError':
      return { kind: 'no_camera' };
    case 'NotReadableError':
    case 'AbortError':
      return { kind: 'busy' };
    default:
      return { kind: 'camera_failed', detail: message };
  }
}

/** @returns {Problem|null} why this page can never open a camera */
export function cameraObstacle() {
  if (!window.isSecureContext) return { kind: 'insecure' };
  if (!window.RTCPeerConnection || !navigator.mediaDevices?.getUserMedia) return { kind: 'no_webrtc' };
  return null;
}

/**
 * Open the webcam, preferring the remembered device; a remembered device that is gone is not an error.
 *
 * @param {string|null} deviceId
 * @returns {Promise<MediaStream>}
 * @throws {CameraError}
 */
export async function openCamera(deviceId) {
  const obstacle = cameraObstacle();
  if (obstacle) throw new CameraError(obstacle);
  try {
    const stream = await openDevice(deviceId);
    for (const track of stream.getVideoTracks()) track.contentHint = 'motion';
    return stream;
  } catch (error) {
    throw new CameraError(problemOf(error));
  }
}

/** @param {string|null} deviceId @returns {Promise<MediaStream>} */
async function openDevice(deviceId) {
  const anyCamera = { audio: false, video: { ...PICTURE, facingMode: 'user' } };
  if (!deviceId) return navigator.mediaDevices.getUserMedia(anyCamera);
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...PICTURE, deviceId: { exact: deviceId } } });
  } catch (error) {
    const { name } = /** @type {DOMException} */ (error);
    if (name !== 'OverconstrainedError' && name !== 'NotFoundError') throw error;
    return navigator.mediaDevices.getUserMedia(anyCamera);
  }
}

/** @param {MediaStream|null} stream */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** @param {MediaStream|null} stream @returns {string|null} the id of the device that really plays */
export function deviceOf(stream) {
  return stream?.getVideoTracks()[0]?.getSettings().deviceId ?? null;
}

/**
 * The cameras one may choose from. Browsers hide names and ids until the camera was allowed once.
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function listCameras() {
  if (cameraObstacle()) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === 'videoinput' && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }));
}

/** @param {() => void} changed called when a camera comes or goes */
export function watchCameras(changed) {
  navigator.mediaDevices?.addEventListener('devicechange', changed);
}
