/**
 * What of an avatar may be set by hand: ARKit's shapes, and the angles of head and eyes; how people call them, and how they are grouped.
 *
 * @typedef {{name: string, low: number, high: number}} Unit as the server names it, with how far it goes from rest: a weight, or radians
 * @typedef {{sign: 1|-1, mirrors: boolean, words: [string, string], arrows: string}} Direction which way a slider goes: to the right with a positive value of this sign
 */

import { GROUP_LABELS, UNIT_LABELS } from './messages.js';

/** The order of the groups, and of the units in each: names, or what pairs begin with. */
const GROUPS = Object.freeze([
  { id: 'head', stems: ['headYaw', 'headPitch', 'headRoll'] },
  { id: 'eyes', stems: ['gazeYaw', 'gazePitch', 'eyeBlink', 'eyeSquint', 'eyeWide', 'eyeLookUp', 'eyeLookDown', 'eyeLookIn', 'eyeLookOut'] },
  { id: 'brows', stems: ['browInnerUp', 'browOuterUp', 'browDown'] },
  {
    id: 'mouth',
    stems: [
      ...['mouthSmile', 'mouthFrown', 'mouthPucker', 'mouthFunnel', 'mouthClose', 'mouthLeft', 'mouthRight', 'mouthStretch', 'mouthDimple', 'mouthPress'],
      ...['mouthUpperUp', 'mouthLowerDown', 'mouthRollUpper', 'mouthRollLower', 'mouthShrugUpper', 'mouthShrugLower'],
    ],
  },
  { id: 'jaw', stems: ['jawOpen', 'jawForward', 'jawLeft', 'jawRight'] },
  { id: 'cheeks', stems: ['cheekPuff', 'cheekSquint', 'noseSneer'] },
  { id: 'tongue', stems: ['tongueOut'] },
]);
const OTHERS = 'others';
/** Directions, not two sides of one thing. */
const UNPAIRED = new Set(['jawLeft', 'jawRight', 'mouthLeft', 'mouthRight']);

/** Angles: a positive yaw goes to the avatar's own left, a positive pitch down, a positive roll to its right shoulder. @type {Record<string, Direction>} */
const ANGLES = Object.freeze({
  headYaw: { sign: 1, mirrors: true, words: ['left', 'right'], arrows: '←→' },
  headPitch: { sign: -1, mirrors: false, words: ['down', 'up'], arrows: '↓↑' },
  headRoll: { sign: -1, mirrors: true, words: ['left', 'right'], arrows: '←→' },
  gazeYaw: { sign: 1, mirrors: true, words: ['left', 'right'], arrows: '←→' },
  gazePitch: { sign: -1, mirrors: false, words: ['down', 'up'], arrows: '↓↑' },
});

/** @param {string} name @returns {[stem: string, side: ''|'Left'|'Right']} */
function splitSide(name) {
  const match = UNPAIRED.has(name) ? null : /^(.+)(Left|Right)$/.exec(name);
  return match ? [match[1], /** @type {'Left'|'Right'} */ (match[2])] : [name, ''];
}

/** @param {string} name @returns {string|null} the same on the other side of the face */
export function partnerOf(name) {
  const [stem, side] = splitSide(name);
  return side ? stem + (side === 'Left' ? 'Right' : 'Left') : null;
}

/** @param {string} name @returns {string} for people, such as `Smile, left` */
export function labelOfUnit(name) {
  const [stem, side] = splitSide(name);
  return (UNIT_LABELS[stem] ?? stem) + (side ? `, ${side.toLowerCase()}` : '');
}

/**
 * The avatar's units in the page's groups; groups that would be empty are left out.
 *
 * @param {readonly Unit[]} units
 * @returns {{id: string, label: string, units: Unit[]}[]}
 */
export function grouped(units) {
  const places = new Map(GROUPS.flatMap(({ id, stems }) => stems.map((stem, index) => [stem, { id, index }])));
  const place = (/** @type {Unit} */ { name }) => places.get(splitSide(name)[0]) ?? places.get(name) ?? { id: OTHERS, index: 0 };
  const all = [...GROUPS.map(({ id }) => id), OTHERS].map((id) => ({
    id,
    label: GROUP_LABELS[id],
    units: units.filter((unit) => place(unit).id === id).sort((one, two) => place(one).index - place(two).index || one.name.localeCompare(two.name)),
  }));
  return all.filter((group) => group.units.length > 0);
}

/** Whether a slider to the right means a larger value: angles go the way the picture goes. @param {string} name @param {boolean} mirrored @returns {1|-1} */
export function directionOf(name, mirrored) {
  const angle = ANGLES[name];
  if (!angle) return 1;
  return angle.mirrors && mirrored ? /** @type {1|-1} */ (-angle.sign) : angle.sign;
}

/**
 * @param {string} name @param {number} shown as the slider stands: right is positive
 * @returns {{spoken: string, short: string}} such as `40 %`, or `12° up` and `12°↑`
 */
export function valueTexts(name, shown) {
  const angle = ANGLES[name];
  const degrees = Math.round(Math.abs(shown) * (180 / Math.PI));
  const plain = angle ? '0°' : `${Math.round(100 * shown)} %`;
  if (!angle || degrees === 0) return { spoken: plain, short: plain };
  const way = shown < 0 ? 0 : 1;
  return { spoken: `${degrees}° ${angle.words[way]}`, short: `${degrees}°${angle.arrows[way]}` };
}
