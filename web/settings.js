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
 * @property {Gains} gains
 */

/**
 * How strongly the avatar does what the driver does: 0 not at all, 1 as they do, 2 twice as much.
 *
 * @typedef {{brows: number, lids: number, mouth: number, head: number}} Gains
 */

const KEY = 'headcast.settings';
const NAME = /^[\w#.-]{1,200}$/;
const COLOUR = /^#[0-9a-f]{6}$/;

export const USUAL_GAIN = 1;

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  avatar: null,
  background: 'avatar',
  colour: '#3f5e8c',
  mirror: true,
  camera: null,
  hud: false,
  preview: true,
  gains: Object.freeze({ brows: USUAL_GAIN, lids: USUAL_GAIN, mouth: USUAL_GAIN, head: USUAL_GAIN }),
});

/** @param {unknown} value @returns {boolean} */
const isName = (value) => typeof value === 'string' && NAME.test(value);
/** @param {unknown} value @returns {boolean} */
const isFlag = (value) => typeof value === 'boolean';

/** @param {unknown} value @returns {boolean} */
const isGain = (value) => typeof value === 'number' && value >= 0 && value <= 2;
/** @param {any} value @returns {boolean} */
const isGains = (value) => typeof value === 'object' && value !== null && Object.keys(DEFAULTS.gains).every((group) => isGain(value[group]));

/** @type {Record<keyof Settings, (value: unknown) => boolean>} */
const VALID = {
  avatar: (value) => value === null || isName(value),
  background: isName,
  colour: (value) => typeof value === 'string' && COLOUR.test(value),
  mirror: isFlag,
  camera: (value) => value === null || (typeof value === 'string' && value.length <= 500),
  hud: isFlag,
  preview: isFlag,
  gains: isGains,
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
