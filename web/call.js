/** "Use it in a call": fills in the links of a session, shows one system's steps, copies. */

import { bindCopyButtons, home, obsLink } from './links.js';
import { COPY } from './messages.js';

const NAME = /^[\w-]{8,64}$/;

/** @returns {'windows'|'macos'|'linux'} the system that this browser runs on, as far as it tells */
function ownSystem() {
  const told = navigator.userAgent;
  if (/Windows/.test(told)) return 'windows';
  return /Mac|iPhone|iPad/.test(told) ? 'macos' : 'linux';
}

/** @param {string} system */
function showSystem(system) {
  for (const steps of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-system]'))) steps.hidden = steps.dataset.system !== system;
}

for (const choice of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('[name=system]'))) {
  choice.checked = choice.value === ownSystem();
  choice.addEventListener('change', () => showSystem(choice.value));
}
showSystem(ownSystem());

const asked = new URLSearchParams(location.search).get('session') ?? '';
const session = NAME.test(asked) ? asked : null;
/** @type {HTMLElement} */ (document.getElementById('no-session')).hidden = session !== null;
const link = obsLink(home(), session ?? 'NAME');
for (const place of document.querySelectorAll('[data-fill]')) {
  place.textContent = (place.textContent ?? '').replace('LINK', link).replace('http://localhost:5000/obs/NAME', link);
}
bindCopyButtons(document, COPY);
