/**
 * The avatars one may choose from.
 *
 * @typedef {{synthetic: boolean, subject: string, expires: string|null, purposes: string[]}} Consent
 * @typedef {{id: string, name: string, description?: string, licence?: string, consent?: Consent, thumbnail: string}} Avatar
 */

const SILHOUETTE = 'silhouette.svg';

/** @returns {Promise<{default: string, avatars: Avatar[]}>} */
export async function fetchAvatars() {
  const response = await fetch('avatars', { headers: { Accept: 'application/json' } });
  if (!response.ok) throw new Error(`The avatars could not be listed (${response.status}).`);
  return response.json();
}

/** @param {Avatar} avatar @returns {string} whose face it is, and under which licence */
export function rightsOf({ consent, licence }) {
  const likeness = consent?.synthetic ? 'Nobody’s likeness' : consent?.subject && `Shows ${consent.subject}, who agreed${consent.expires ? ` until ${consent.expires}` : ''}`;
  return [likeness, licence].filter(Boolean).join(' · ');
}

/** @param {Avatar|undefined} avatar @returns {boolean} whether whom it shows agreed to recordings and pictures */
export const mayBeKept = (avatar) => !avatar?.consent || avatar.consent.synthetic || avatar.consent.purposes.includes('recordings');

/** Show an avatar's thumbnail, or the silhouette where it has none. @param {HTMLImageElement} image @param {Avatar|undefined} avatar */
export function showThumbnail(image, avatar) {
  image.onerror = () => {
    image.onerror = null;
    image.src = SILHOUETTE;
  };
  image.src = avatar?.thumbnail ?? SILHOUETTE;
}

/** A group of radio buttons with pictures. */
export class Gallery {
  /** @type {Avatar[]} */
  avatars = [];

  /** @param {HTMLElement} root @param {(id: string) => void} onChoice */
  constructor(root, onChoice) {
    this.root = root;
    root.addEventListener('change', (event) => onChoice(/** @type {HTMLInputElement} */ (event.target).value));
  }

  /** @param {Avatar[]} avatars */
  show(avatars) {
    this.avatars = avatars;
    this.root.replaceChildren(...avatars.map(choice));
  }

  /** @param {string|null} id @returns {Avatar|undefined} */
  find(id) {
    return this.avatars.find((avatar) => avatar.id === id);
  }

  /** @param {string|null} id @param {{pending?: boolean}} [state] pending: the server has not answered yet */
  select(id, { pending = false } = {}) {
    for (const input of this.root.querySelectorAll('input')) {
      input.checked = input.value === id;
      input.parentElement?.classList.toggle('pending', pending && input.checked);
    }
  }
}

/** @param {Avatar} avatar @param {number} index */
function choice(avatar, index) {
  const label = document.createElement('label');
  label.className = 'avatar-choice';
  label.title = [avatar.description || avatar.name, index < 9 ? `(${index + 1})` : ''].join(' ').trim();
  const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'avatar', value: avatar.id });
  if (index < 9) input.setAttribute('aria-keyshortcuts', String(index + 1));
  const image = Object.assign(document.createElement('img'), { alt: '', loading: 'lazy', decoding: 'async', width: 96, height: 96 });
  showThumbnail(image, avatar);
  const name = Object.assign(document.createElement('span'), { textContent: avatar.name });
  label.append(input, image, name);
  return label;
}
