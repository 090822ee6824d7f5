/** Shows one session's avatar and nothing else (WHEP): watch.html?session=NAME. Comes back by itself when the session does. */

import { Watcher } from './whep.js';

const session = new URLSearchParams(location.search).get('session') ?? '';
new Watcher(session, /** @type {HTMLVideoElement} */ (document.querySelector('video')), (live) => (document.body.dataset.phase = live ? 'live' : 'waiting'));
