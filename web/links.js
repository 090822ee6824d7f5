/** Links of this server and its sessions, made in the page; and buttons that copy them. */

const COPIED_MS = 1600;
const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;
const NAME_BYTES = 12;

/** @returns {string} a session's name that nobody can guess, and that a phone's camera still reads from a small code */
export function freshName() {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES));
  return `phone-${btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_')}`;
}

/** @returns {string} where this page's server is, with a slash at the end */
export const home = () => new URL('.', import.meta.url).href;

/** @param {string} base where the server is @param {string} name of the session @returns {string} of the page that shows only the avatar */
export const obsLink = (base, name) => new URL(`obs/${encodeURIComponent(name)}`, base).href;

/** @param {string} base where the server is @param {string} name of the session @returns {string} of the page whose camera drives the session */
export const cameraLink = (base, name) => new URL(`?session=${encodeURIComponent(name)}`, base).href;

/**
 * What keeps another device from being a camera over this address.
 *
 * @param {string} address as a person typed it
 * @returns {{base: string|null, problem: 'address'|'loopback'|'insecure'|null}} `base` ends with a slash; null: it is no address
 */
export function lookAtAddress(address) {
  const typed = address.trim();
  let url;
  try {
    if (/\s/.test(typed)) throw new Error('words');
    url = new URL(/^https?:\/\//i.test(typed) ? typed : `https://${typed}`);
  } catch {
    return { base: null, problem: 'address' };
  }
  const base = new URL(url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`, url.origin).href;
  if (LOOPBACK.test(url.hostname)) return { base, problem: 'loopback' };
  return { base, problem: url.protocol === 'https:' ? null : 'insecure' };
}

/**
 * Makes every button with `data-copy`, the id of what it copies, do so, and say so for a moment.
 *
 * @param {ParentNode} root @param {{copied: string, failed: string}} words
 */
export function bindCopyButtons(root, words) {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (root.querySelectorAll('button[data-copy]'))) {
    const label = button.textContent;
    button.addEventListener('click', async () => {
      const source = document.getElementById(button.dataset.copy ?? '');
      button.textContent = (await copy(source)) ? words.copied : words.failed;
      setTimeout(() => (button.textContent = label), COPIED_MS);
    });
  }
}

/** Without a secure address there is no clipboard: then the text is selected, ready for the keyboard. @param {HTMLElement|null} source @returns {Promise<boolean>} */
async function copy(source) {
  if (!source) return false;
  try {
    await navigator.clipboard.writeText(source.textContent?.trim() ?? '');
    return true;
  } catch {
    getSelection()?.selectAllChildren(source);
    return false;
  }
}
