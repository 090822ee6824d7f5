/** STUN and TURN servers, where the server's owner has configured some. */

const TIMEOUT_MS = 1000;

/** @returns {Promise<RTCIceServer[]>} none where none is configured, or nobody answers: then addresses of this network have to do */
export async function fetchIceServers() {
  try {
    const response = await fetch(new URL('ice-servers', import.meta.url), { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return (await response.json()).ice_servers;
  } catch {
    return []; // the offer will tell whether the server is there
  }
}
