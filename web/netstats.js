/** What the browser itself measures of a connection. */

/**
 * @typedef {object} NetSample
 * @property {number|null} roundTripMs of the network path
 * @property {number|null} jitterBufferMs how long a frame waited to be shown
 * @property {number|null} sendMs from the camera's frame to its packets: encoding and waiting to be sent
 * @property {number|null} receiveMs from the first packet of a frame to its picture
 * @property {number|null} shownFps
 * @property {number|null} sentKbps
 * @property {number|null} receivedKbps
 * @property {string} sent codec and size, for instance `H264 640×480`
 * @property {string} received
 */

/** Turns the counters of getStats into rates; one per connection. */
export class NetMeter {
  /** @type {Record<string, number>|null} */
  #last = null;

  /** @param {RTCPeerConnection} pc @returns {Promise<NetSample>} */
  async sample(pc) {
    const report = [...(await pc.getStats()).values()];
    const byId = new Map(report.map((entry) => [entry.id, entry]));
    const inbound = report.find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video') ?? {};
    const outbound = report.find((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video') ?? {};
    const pair = report.find((entry) => entry.type === 'candidate-pair' && entry.nominated) ?? {};
    /** @type {Record<string, number>} */
    const now = {
      at: performance.now(),
      sent: outbound.bytesSent ?? 0,
      received: inbound.bytesReceived ?? 0,
      delay: inbound.jitterBufferDelay ?? 0,
      emitted: inbound.jitterBufferEmittedCount ?? 0,
      encoding: outbound.totalEncodeTime ?? 0,
      encoded: outbound.framesEncoded ?? 0,
      waiting: outbound.totalPacketSendDelay ?? 0,
      packets: outbound.packetsSent ?? 0,
      receiving: inbound.totalProcessingDelay ?? (inbound.jitterBufferDelay ?? 0) + (inbound.totalDecodeTime ?? 0),
      decoded: inbound.framesDecoded ?? 0,
    };
    const last = this.#last ?? now;
    this.#last = now;
    const each = (/** @type {string} */ total, /** @type {string} */ count) => {
      const more = now[count] - last[count];
      return more > 0 ? ((now[total] - last[total]) / more) * 1000 : null;
    };
    return {
      roundTripMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      jitterBufferMs: each('delay', 'emitted'),
      sendMs: now.encoded > last.encoded ? (each('encoding', 'encoded') ?? 0) + (each('waiting', 'packets') ?? 0) : null,
      receiveMs: each('receiving', 'decoded'),
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
