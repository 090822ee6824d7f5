/**
 * Keyboard shortcuts. Letters go by what is printed on the key; where the layout has no Latin letters, by its place.
 *
 * @typedef {Record<string, (key: string) => void>} KeyActions by key name: a lower-case letter, a digit, `?` or `escape`
 */

/** What the help dialog lists. */
export const SHORTCUTS = Object.freeze([
  { keys: ['X'], text: 'Calibrate: look neutral' },
  { keys: ['F'], text: 'Find my neutral look by itself' },
  { keys: ['1', '9'], text: 'Choose an avatar', range: true },
  { keys: ['B'], text: 'Next background' },
  { keys: ['M'], text: 'Mirror' },
  { keys: ['P'], text: 'Pause, and send no picture' },
  { keys: ['H'], text: 'Hide or show the preview' },
  { keys: ['I'], text: 'Numbers: speed and delays' },
  { keys: ['R'], text: 'Record, and stop and save' },
  { keys: ['K'], text: 'Keep the picture: a snapshot' },
  { keys: ['V'], text: 'Clean view: only the avatar' },
  { keys: ['Esc'], text: 'Leave the clean view, or stop' },
  { keys: ['?'], text: 'This help' },
]);

const TYPING = 'textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=button], [type=color], [type=range])';

/** @param {KeyboardEvent} event @returns {string} */
function nameOf(event) {
  if (event.key === 'Escape') return 'escape';
  if (/^[a-z0-9?]$/i.test(event.key)) return event.key.toLowerCase();
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key;
}

/**
 * @param {KeyActions} actions
 * @param {() => boolean} blocked true while a dialog has the keyboard
 */
export function bindKeys(actions, blocked) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || blocked()) return;
    if (event.target instanceof Element && event.target.matches(TYPING)) return;
    const name = nameOf(event);
    const action = actions[/^[1-9]$/.test(name) ? 'digit' : name];
    if (!action) return;
    event.preventDefault();
    action(name);
  });
}

/** @param {HTMLElement} list a dl to fill */
export function listShortcuts(list) {
  for (const { keys, text, range } of SHORTCUTS) {
    const term = document.createElement('dt');
    keys.forEach((key, index) => {
      if (index && range) term.append(' – ');
      term.append(Object.assign(document.createElement('kbd'), { textContent: key }));
    });
    list.append(term, Object.assign(document.createElement('dd'), { textContent: text }));
  }
}
