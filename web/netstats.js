/** What the browser itself measures of a connection. */

/**
 * @typedef {object} NetSample
 * @property {number|null} roundTripMs of the network path
 * @property {number|null} jitterBufferMs how long a frame waited to be shown
 * @property {number|null} shownFps
 * @property {number|null} sentKbps
 * @property {number|null} receivedKbps
 * @property {string} sent codec and size, for instance `H264 640×480`
 * @property {string} received
 */

/** Turns the counters of getStats into rates; one per connection. */
export class NetMeter {
  /** @type {{at: number, sent: number, received: number, delay: number, emitted: number}|null} */
  #last = null;

  /** @param {RTCPeerConnection} pc @returns {Promise<NetSample>} */
  async sample(pc) {
    const report = [...(await pc.getStats()).values()];
    const byId = new Map(report.map((entry) => [entry.id, entry]));
    const inbound = report.find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video') ?? {};
    const outbound = report.find((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video') ?? {};
    const pair = report.find((entry) => entry.type === 'candidate-pair' && entry.nominated) ?? {};
    const now = {
      at: performance.now(),
      sent: outbound.bytesSent ?? 0,
      received: inbound.bytesReceived ?? 0,
      delay: inbound.jitterBufferDelay ?? 0,
      emitted: inbound.jitterBufferEmittedCount ?? 0,
    };
    const last = this.#last ?? now;
    this.#last = now;
    const frames = now.emitted - last.emitted;
    return {
      roundTripMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      jitterBufferMs: frames > 0 ? ((now.delay - last.delay) / frames) * 1000 : null,
      shownFps: inbound.framesPerSecond ?? null,
      sentKbps: rate(now.sent - last.sent, now.at - last.at),
      receivedKbps: rate(now.received - last.received, now.at - last.at),
      sent: format(outbound, byId),
      received: format(inbound, byId),
    };
  }
}

/** @param {number} bytes @param {number} ms @returns {number|null} */
function rate(bytes, ms) {
  return ms > 0 ? (bytes * 8) / ms : null;
}

/** @param {Record<string, any>} rtp @param {Map<string, any>} byId */
function format(rtp, byId) {
  const codec = byId.get(rtp.codecId)?.mimeType?.replace('video/', '') ?? '';
  const size = rtp.frameWidth ? `${rtp.frameWidth}×${rtp.frameHeight}` : '';
  return [codec, size].filter(Boolean).join(' ');
}
