/**
 * What a small picture of the camera tells of light and framing. First guesses, made in the page from colours alone, so that a recording is not in vain; the
 * check on the server looks for the face itself.
 *
 * @typedef {'dark'|'bright'|'side'|'far'|'near'|'aside'|'unseen'|'good'} Hint
 */

export const WIDTH = 96;
export const HEIGHT = 72;

const DARK = 60;
const BRIGHT = 248;
const BURNT = 0.12;
const UNEVEN = 2.2;
const LEAST_SEEN = 0.02;
const FAR = 0.3;
const NEAR = 0.92;
const ASIDE = 0.16;
/** Skin of any tone lies in these ranges of Cb and Cr (D. Chai, K. N. Ngan: Face segmentation using skin-color map, 1999); so do some walls. */
const SKIN = { cb: [77, 127], cr: [133, 173] };

/**
 * @param {Uint8ClampedArray} pixels RGBA of WIDTH x HEIGHT, as the camera sees it
 * @returns {Hint}
 */
export function hintOf(pixels) {
  const skin = findSkin(pixels);
  if (skin.light < DARK) return 'dark';
  if (skin.count < LEAST_SEEN * WIDTH * HEIGHT) return skin.burnt > BURNT ? 'bright' : 'unseen';
  if (skin.burnt > BURNT) return 'bright';
  const tall = (skin.bottom - skin.top) / HEIGHT;
  if (tall < FAR) return 'far';
  if (tall > NEAR && skin.wide > 0.6) return 'near';
  if (Math.abs(skin.x / WIDTH - 0.5) > ASIDE) return 'aside';
  if (Math.max(skin.left, skin.right) > UNEVEN * Math.max(Math.min(skin.left, skin.right), 1)) return 'side';
  return 'good';
}

/** @param {Uint8ClampedArray} pixels */
function findSkin(pixels) {
  const rows = new Array(HEIGHT).fill(0);
  let [count, sumX, sumLight, burnt, middle] = [0, 0, 0, 0, 0];
  /** @type {{x: number, light: number}[]} */
  const found = [];
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const at = 4 * (y * WIDTH + x);
      const [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
      const light = 0.299 * red + 0.587 * green + 0.114 * blue;
      if (isMiddle(x, y)) {
        middle += 1;
        sumLight += light;
        burnt += Number(Math.min(red, green, blue) > BRIGHT);
        if (isSkin(red, green, blue)) {
          count += 1;
          sumX += x;
          rows[y] += 1;
          found.push({ x, light });
        }
      }
    }
  }
  const x = count ? sumX / count : WIDTH / 2;
  const wide = Math.max(...rows) / WIDTH;
  const kept = rows.map((inRow, row) => (inRow > 3 ? row : -1)).filter((row) => row >= 0);
  const half = (/** @type {(x: number) => boolean} */ side) => mean(found.filter((pixel) => side(pixel.x)).map((pixel) => pixel.light));
  return {
    count,
    x,
    wide,
    top: kept[0] ?? 0,
    bottom: kept.at(-1) ?? 0,
    light: sumLight / middle,
    burnt: burnt / middle,
    left: half((at) => at < x),
    right: half((at) => at >= x),
  };
}

/** Where a head is expected: the middle two thirds. @param {number} x @param {number} y */
const isMiddle = (x, y) => x > WIDTH * 0.17 && x < WIDTH * 0.83 && y >= 0;

/** @param {number} red @param {number} green @param {number} blue */
function isSkin(red, green, blue) {
  const cb = 128 - 0.169 * red - 0.331 * green + 0.5 * blue;
  const cr = 128 + 0.5 * red - 0.419 * green - 0.081 * blue;
  return cb >= SKIN.cb[0] && cb <= SKIN.cb[1] && cr >= SKIN.cr[0] && cr <= SKIN.cr[1];
}

/** @param {number[]} values */
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
