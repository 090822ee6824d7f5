/**
 * Who one is on this server, where its owner lets in only some people; and the way to the page where one says so.
 *
 * @typedef {{name: string, role: 'owner'|'puppeteer'|'viewer', login: boolean}} Account `login`: whether there is one that can be ended
 */

const home = new URL('.', import.meta.url);
const LOGIN = 'login';

/** @returns {Promise<Account|null>} null: nobody that the server knows, or it does not answer */
export async function whoAmI() {
  try {
    const response = await fetch(new URL('whoami', home));
    return response.status === 200 ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * Says who one is; from then on this browser is let in.
 *
 * @param {string} token
 * @returns {Promise<{account?: Account, problem?: string}>} `problem`: why not
 */
export async function signIn(token) {
  let response;
  try {
    response = await fetch(new URL(LOGIN, home), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }) });
  } catch {
    return { problem: 'The server does not answer. Check that it is running, then try again.' };
  }
  if (response.ok) return { account: await response.json() };
  if (response.status === 401) return { problem: 'This token is not known here. Check that all of it was copied, without a space.' };
  const wait = Number(response.headers.get('Retry-After'));
  if (response.status === 429) return { problem: `Too many wrong tokens. Try again in ${wait || 'some'} s.` };
  return { problem: (await response.json().catch(() => ({}))).detail ?? `The server refused (${response.status}).` };
}

export async function signOut() {
  await fetch(new URL('logout', home), { method: 'POST' }).catch(() => null);
  location.assign(new URL(LOGIN, home));
}

/** To the page where one says who one is, and back here. */
export function toLogin() {
  const here = location.href.startsWith(home.href) ? location.href.slice(home.href.length) : '';
  location.assign(new URL(`${LOGIN}?next=${encodeURIComponent(here)}`, home));
}

/**
 * Where to go once one is let in: to a page of this server, whatever a link says.
 *
 * @param {string} search of the page's address @returns {string}
 */
export function placeAfterLogin(search) {
  const asked = new URLSearchParams(search).get('next') ?? '';
  const place = URL.canParse(asked, home.href) ? new URL(asked, home) : home;
  const own = place.origin === home.origin && place.pathname.startsWith(home.pathname) && place.pathname !== new URL(LOGIN, home).pathname;
  return (own ? place : home).href;
}
