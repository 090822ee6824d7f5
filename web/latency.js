/**
 * How long after the driver's move the avatar's is seen, summed up from what the browser and the server measure.
 *
 * @typedef {import('./netstats.js').NetSample} NetSample
 */

/** A move is seen in the first frame after it: half an interval later, between all moves. */
const waitMs = (/** @type {number} */ fps) => 500 / Math.min(Math.max(fps, 5), 60);

/** @param {unknown} value @returns {number} */
const known = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

/**
 * @param {NetSample|null} net @param {Record<string, any>|null} stats as the server sends them
 * @param {boolean} camera whether pictures of the driver are sent; else only what follows a slider counts
 * @returns {number|null} milliseconds; null: not measured yet
 */
export function videoLatencyMs(net, stats, camera) {
  if (!net || !stats || !known(stats.latency_ms?.p50)) return null;
  const stage = (/** @type {string} */ name) => known(stats.stage_ms?.[name]?.p50);
  const up = camera ? waitMs(known(stats.fps_out)) + known(net.sendMs) + stage('receive') + stage('decode') : 0;
  return up + known(stats.latency_ms.p50) + stage('encode') + known(net.roundTripMs) + known(net.receiveMs);
}
