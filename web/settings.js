/**
 * What the page remembers, in this browser only.
 *
 * @typedef {object} Settings
 * @property {string|null} avatar id of the chosen avatar; null: the server's default
 * @property {string} background a name of `backgrounds.js` or `#rrggbb`
 * @property {string} colour the last own colour, `#rrggbb`
 * @property {boolean} mirror
 * @property {string|null} camera device id; null: the system's choice
 * @property {boolean} hud
 * @property {boolean} preview
 */

const KEY = 'headcast.settings';
const NAME = /^[\w#.-]{1,200}$/;
const COLOUR = /^#[0-9a-f]{6}$/;

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({ avatar: null, background: 'avatar', colour: '#3f5e8c', mirror: true, camera: null, hud: false, preview: true });

/** @param {unknown} value @returns {boolean} */
const isName = (value) => typeof value === 'string' && NAME.test(value);
/** @param {unknown} value @returns {boolean} */
const isFlag = (value) => typeof value === 'boolean';

/** @type {Record<keyof Settings, (value: unknown) => boolean>} */
const VALID = {
  avatar: (value) => value === null || isName(value),
  background: isName,
  colour: (value) => typeof value === 'string' && COLOUR.test(value),
  mirror: isFlag,
  camera: (value) => value === null || (typeof value === 'string' && value.length <= 500),
  hud: isFlag,
  preview: isFlag,
};

/**
 * The remembered settings; whatever is missing or not valid is the default.
 * @returns {Settings}
 */
export function loadSettings() {
  /** @type {Record<string, unknown>} */
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY) ?? '{}') ?? {};
  } catch {
    stored = {}; // storage is blocked or was edited: start with the defaults
  }
  const kept = Object.entries(VALID).filter(([key, valid]) => key in stored && valid(stored[key]));
  return { ...DEFAULTS, ...Object.fromEntries(kept.map(([key]) => [key, stored[key]])) };
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // storage is blocked or full: the page works, it only forgets
  }
}
