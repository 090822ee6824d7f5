/**
 * Only the avatar of one session, for a browser source of OBS: obs/NAME.
 *
 *   ?background=transparent   nothing behind the avatar: the server shows it on green, which is taken out here
 *   ?background=%2300ff00     that colour, also around the picture; or a background of the server by its name
 *   ?fit=cover                fills the window instead of fitting into it
 *   ?mirror=1, ?avatar=ID     as the session is to look
 */

import { keepKeying } from './key.js';
import { Watcher } from './whep.js';

const COLOUR = /^#[0-9a-f]{6}$/i;
const NAMES = ['avatar', 'gradient', 'green', 'checker'];

const asked = new URLSearchParams(location.search);
const session = decodeURIComponent(location.pathname.split('/').at(-1) ?? '');
const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector('canvas'));

/** @returns {Record<string, string>} what the server is asked for */
function look() {
  const background = asked.get('background') ?? '';
  const wishes = { avatar: asked.get('avatar'), mirror: asked.get('mirror') };
  const kept = Object.fromEntries(Object.entries(wishes).filter(([, value]) => value));
  if (background === 'transparent') return { ...kept, background: 'green' };
  return COLOUR.test(background) || NAMES.includes(background) ? { ...kept, background } : kept;
}

const background = asked.get('background') ?? '';
if (COLOUR.test(background)) document.body.style.setProperty('--background', background);
if (asked.get('fit') === 'cover') {
  document.body.style.setProperty('--fit', 'cover');
  /** @type {HTMLElement} */ (document.querySelector('p')).hidden = false;
}
if (background === 'transparent') {
  document.body.dataset.keyed = '';
  canvas.hidden = false;
  keepKeying(video, canvas);
}
new Watcher(session, video, (live) => (document.body.dataset.phase = live ? 'live' : 'waiting'), look());
