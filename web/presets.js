/**
 * Looks to choose from: those that come with the page, and one's own, which this browser remembers.
 *
 * @typedef {Record<string, number>} Values by unit, from rest; what is not named is at rest
 * @typedef {{id: string, label: string, values: Values, own?: boolean}} Preset
 */

import { PRESET_LABELS } from './messages.js';

const KEY = 'headcast.presets';
const MOST_OWN = 24;
const MOST_UNITS = 128;
export const LONGEST_NAME = 24;
const UNIT = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** Both sides alike. @param {Values} values by stem @returns {Values} */
const both = (values) => Object.fromEntries(Object.entries(values).flatMap(([stem, value]) => [`${stem}Left`, `${stem}Right`].map((name) => [name, value])));

/** @type {Record<string, Values>} */
const LOOKS = {
  neutral: {},
  smile: both({ mouthSmile: 0.75, cheekSquint: 0.45, eyeSquint: 0.25 }),
  laugh: { ...both({ mouthSmile: 0.9, cheekSquint: 0.7, eyeSquint: 0.5, mouthUpperUp: 0.35, mouthLowerDown: 0.25 }), jawOpen: 0.42, headPitch: -0.1 },
  surprised: { ...both({ browOuterUp: 0.85, eyeWide: 0.8 }), browInnerUp: 0.85, jawOpen: 0.45, mouthFunnel: 0.25 },
  wink: { eyeBlinkLeft: 1, cheekSquintLeft: 0.5, mouthSmileLeft: 0.65, mouthSmileRight: 0.35, browDownLeft: 0.25, headRoll: 0.1 },
  frown: { ...both({ browDown: 0.85, mouthFrown: 0.6, eyeSquint: 0.35, mouthPress: 0.3, noseSneer: 0.2 }), mouthShrugLower: 0.3 },
  sad: { ...both({ mouthFrown: 0.75, eyeSquint: 0.2 }), browInnerUp: 0.9, mouthShrugLower: 0.45, headPitch: 0.14, gazePitch: 0.1 },
  kiss: { ...both({ eyeBlink: 0.4 }), mouthPucker: 0.95, mouthFunnel: 0.2, browInnerUp: 0.2 },
  doubt: { ...both({ mouthPress: 0.25 }), browOuterUpRight: 0.9, browDownLeft: 0.6, mouthLeft: 0.3, eyeSquintLeft: 0.35, headRoll: -0.12 },
  asleep: { ...both({ eyeBlink: 1 }), jawOpen: 0.06, headPitch: 0.2, headRoll: 0.08 },
};

/** Those that come with the page. @type {readonly Preset[]} */
export const PRESETS = Object.freeze(Object.entries(LOOKS).map(([id, values]) => Object.freeze({ id, label: PRESET_LABELS[id], values })));

/** @param {any} preset as it was stored @returns {boolean} */
function isPreset(preset) {
  const values = preset?.values;
  if (typeof preset?.label !== 'string' || !preset.label.trim() || preset.label.length > LONGEST_NAME) return false;
  if (typeof values !== 'object' || values === null || Object.keys(values).length > MOST_UNITS) return false;
  return Object.entries(values).every(([name, value]) => UNIT.test(name) && typeof value === 'number' && Math.abs(value) <= 2);
}

/** @param {string} label @param {Values} values @returns {Preset} */
const ownPreset = (label, values) => ({ id: `own:${label}`, label, values, own: true });

/** One's own looks; whatever is missing or not valid is left out. @returns {Preset[]} */
export function loadOwnPresets() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isPreset).slice(0, MOST_OWN).map(({ label, values }) => ownPreset(label, values)) : [];
  } catch {
    return []; // storage is blocked or was edited
  }
}

/** @param {readonly Preset[]} presets @returns {boolean} whether this browser will remember them */
function store(presets) {
  try {
    localStorage.setItem(KEY, JSON.stringify(presets.map(({ label, values }) => ({ label, values }))));
    return true;
  } catch {
    return false; // storage is blocked or full
  }
}

/**
 * Remember a look; one of the same name is replaced.
 *
 * @param {string} name @param {Values} values
 * @returns {'kept'|'nameless'|'full'|'blocked'} what came of it
 */
export function keepPreset(name, values) {
  const label = name.trim().slice(0, LONGEST_NAME);
  if (!label) return 'nameless';
  const others = loadOwnPresets().filter((preset) => preset.label !== label);
  if (others.length >= MOST_OWN) return 'full';
  return store([...others, ownPreset(label, values)]) ? 'kept' : 'blocked';
}

/** @param {string} id */
export function forgetPreset(id) {
  store(loadOwnPresets().filter((preset) => preset.id !== id));
}
