/** What a viewer begins with: the name of a session, out of whatever link of it they have. */

const NAME = /^[\w-]{8,64}$/;

const session = /** @type {HTMLInputElement} */ (document.getElementById('session'));
const problem = /** @type {HTMLElement} */ (document.getElementById('problem'));

/** @param {string} text a name, or a link that ends with one: …/obs/NAME, …/whep/NAME, …?session=NAME @returns {string|null} */
function nameIn(text) {
  const link = URL.canParse(text) ? new URL(text) : null;
  const name = link?.searchParams.get('session') ?? link?.pathname.split('/').at(-1) ?? text;
  return NAME.test(name) ? name : null;
}

document.getElementById('form')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const name = nameIn(session.value.trim());
  session.setAttribute('aria-invalid', String(name === null));
  problem.textContent = name === null ? 'That is neither a link nor a name: 8 to 64 letters, digits, - and _.' : '';
  if (name !== null) location.assign(`watch.html?session=${encodeURIComponent(name)}`);
  else session.focus();
});
