/** The page where one says who one is. */

import { placeAfterLogin, signIn, whoAmI } from './account.js';

const form = /** @type {HTMLFormElement} */ (document.getElementById('form'));
const token = /** @type {HTMLInputElement} */ (document.getElementById('token'));
const show = /** @type {HTMLButtonElement} */ (document.getElementById('show'));
const enter = /** @type {HTMLButtonElement} */ (document.getElementById('enter'));
const problem = /** @type {HTMLElement} */ (document.getElementById('problem'));

const goOn = () => location.replace(placeAfterLogin(location.search));

/** @param {string} text empty: there is none */
function say(text) {
  problem.textContent = text;
  token.setAttribute('aria-invalid', String(text !== ''));
}

show.addEventListener('click', () => {
  const shown = token.type === 'password';
  token.type = shown ? 'text' : 'password';
  show.setAttribute('aria-pressed', String(shown));
  show.textContent = shown ? 'Hide' : 'Show';
  token.focus();
});

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  say('');
  enter.disabled = true;
  const answer = await signIn(token.value.trim());
  enter.disabled = false;
  if (answer.account) return goOn();
  say(answer.problem ?? '');
  token.select();
  token.focus();
});

/** @type {HTMLElement} */ (document.getElementById('unsafe')).hidden = window.isSecureContext;
// A link on another site leads here even if one is let in already: browsers keep the cookie back then.
if (await whoAmI()) goOn();
document.body.dataset.phase = 'ready';
