/**
 * The server's side of the studio.
 *
 * @typedef {{refuses: boolean, found: string, needed: string, instead: string}} Finding
 * @typedef {{id: string, name: string, bytes: number, state: 'checking'|'good'|'refused'|'unchecked', findings: Finding[], message: string}} Upload
 * @typedef {{id: string, upload: string, name: string, state: 'queued'|'running'|'done'|'failed'|'cancelled', position: number, stage: string, step: string,
 *   share: number, remaining_s: number|null, previews: number[], message: string, log: string, avatar: string, tag: string}} Job
 * @typedef {{id: string, name: string, origin: string, synthetic: boolean, subject: string, date: string, expires: string|null, purposes: string[], own_driver_only: boolean, signed_by: string, problem?: string, created: number|null,
 *   bytes: number, thumbnail: string, yours: boolean, fetchable: boolean, licence: string, figures?: any, video?: boolean}} Avatar
 */

import { toLogin } from './account.js';
import { FAILURES } from './studio-texts.js';

/** What the server refused, in its words; status 0: it did not answer. */
export class Refusal extends Error {
  /** @param {string} message @param {number} status @param {string|null} [signer] the key that is not believed there, if that is why */
  constructor(message, status, signer = null) {
    super(sentence(message));
    this.status = status;
    this.signer = signer;
  }
}

/** @param {string} words @returns {string} beginning and ending as a sentence does */
function sentence(words) {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?…]$/.test(words) ? '' : '.'}`;
}

/** @param {Response} response @returns {Promise<never>} */
async function refuse(response) {
  if (response.status === 401) toLogin();
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(problem.detail ?? `${response.status} ${response.statusText}`, response.status, response.headers.get('Headcast-Signer'));
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    throw new Refusal(FAILURES.offline, 0);
  }
  return response.ok ? response : refuse(response);
}

/** @param {string} path @param {RequestInit} [options] */
const json = async (path, options) => (await ask(path, options)).json();

/** @param {unknown} body @returns {RequestInit} */
const sending = (body) => ({ headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** @param {string[]} keys @returns {Record<string, string>} */
const holding = (keys) => (keys.length ? { 'Avatar-Keys': keys.join(' ') } : {});

/** @param {string} id */
const at = (id) => encodeURIComponent(id);

export const fetchInfo = () => json('studio/info');
/** @param {string} id @returns {Promise<Upload>} */
export const fetchUpload = (id) => json(`studio/uploads/${at(id)}`);
/** @param {string} id */
export const deleteUpload = (id) => ask(`studio/uploads/${at(id)}`, { method: 'DELETE' });
/** @param {Record<string, unknown>} wish @returns {Promise<Job>} */
export const beginJob = (wish) => json('studio/jobs', { method: 'POST', ...sending(wish) });
/** @param {string} id @param {string} [after] @returns {Promise<Job>} with a tag: as soon as there is something new, or after 20 s */
export const fetchJob = (id, after) => json(`studio/jobs/${at(id)}${after ? `?after=${at(after)}` : ''}`);
/** @param {string} id @param {'cancel'|'retry'} act @returns {Promise<Job>} */
export const actOnJob = (id, act) => json(`studio/jobs/${at(id)}/${act}`, { method: 'POST' });
/** @param {string} id */
export const deleteJob = (id) => ask(`studio/jobs/${at(id)}`, { method: 'DELETE' });
/** @param {string} id @param {number} number */
export const previewOf = (id, number) => `studio/jobs/${at(id)}/previews/${number}.jpg`;

/** @param {string[]} keys @returns {Promise<{avatars: Avatar[]}>} */
export const fetchShelf = (keys) => json('studio/avatars', { headers: holding(keys) });
/** @param {string} id @param {string[]} keys @returns {Promise<Avatar>} */
export const fetchAvatar = (id, keys) => json(`studio/avatars/${at(id)}`, { headers: holding(keys) });
/** @param {string} id @param {string[]} keys @param {string} name */
export const renameAvatar = (id, keys, name) => {
  const { headers, body } = sending({ name });
  return json(`studio/avatars/${at(id)}`, { method: 'PATCH', headers: { ...headers, ...holding(keys) }, body });
};
/** @param {string} id @param {string[]} keys @param {{withdraw?: boolean}} [options] withdraw: copies of it are refused from then on */
export const deleteAvatar = (id, keys, { withdraw = false } = {}) => ask(`studio/avatars/${at(id)}${withdraw ? '?withdraw=1' : ''}`, { method: 'DELETE', headers: holding(keys) });
/** @param {File} file @param {string} [trust] a signer's key that is believed from now on @returns {Promise<{id: string, name: string, key: string}>} */
export const importAvatar = (file, trust) => json(`studio/avatars${trust ? `?trust=${at(trust)}` : ''}`, { method: 'POST', body: file });
/** @param {string} id @param {'file'|'video'} part @param {string[]} keys @returns {Promise<string>} an address of the content within this page */
export const contentOf = async (id, part, keys) => URL.createObjectURL(await (await ask(`studio/avatars/${at(id)}/${part}`, { headers: holding(keys) })).blob());
/** @param {string} id @param {string[]} keys @returns {Promise<string>} an address of the avatar as a GLB file, within this page */
export const glbOf = async (id, keys) => URL.createObjectURL(await (await ask(`avatars/${at(id)}/export?format=glb`, { headers: holding(keys) })).blob());

/**
 * Sends a video. XMLHttpRequest, for fetch tells nothing of how far it is.
 *
 * @param {Blob} video @param {string} name @param {(sent: number) => void} progressed bytes
 * @returns {{done: Promise<Upload>, abort: () => void}}
 */
export function sendVideo(video, name, progressed) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.addEventListener('progress', (event) => progressed(event.loaded));
    request.addEventListener('load', () => {
      const answer = parsed(request.responseText);
      if (request.status === 201) resolve(answer);
      else reject(new Refusal(answer.detail ?? `${request.status}`, request.status));
    });
    request.addEventListener('error', () => reject(new Refusal(FAILURES.offline, 0)));
    request.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
  });
  request.open('POST', `studio/uploads?name=${at(name)}`);
  request.setRequestHeader('Content-Type', 'application/octet-stream');
  request.send(video);
  return { done, abort: () => request.abort() };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
