/** The button that ends one's login, on every page that has it; where there is no login it stays hidden. */

import { signOut, whoAmI } from './account.js';

const button = /** @type {HTMLButtonElement} */ (document.getElementById('sign-out'));
const account = await whoAmI();
if (account?.login) {
  button.hidden = false;
  button.title = `Sign out (${account.name}, ${account.role})`;
  button.addEventListener('click', signOut);
}
