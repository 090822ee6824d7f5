/** Content credentials: the server signs into a recording or a snapshot what made it, and keeps nothing of it. */

/** What the server takes at most; larger ones are saved as they are. */
const MOST_BYTES = 256 * 2 ** 20;
const PATIENCE_MS = 600_000;
/** @type {Record<string, string>} */
const SUFFIXES = { 'image/png': 'png', 'video/mp4': 'mp4' };

/**
 * @param {Blob} file @param {string} avatar who is shown, as far as this page knows
 * @returns {Promise<{file: Blob, suffix: string}|null>} null: the server did not sign it
 */
export async function signed(file, avatar) {
  if (file.size > MOST_BYTES) return null;
  try {
    const response = await fetch(`credentials?${new URLSearchParams(avatar ? { avatar } : {})}`, {
      method: 'POST',
      body: file,
      headers: { 'Content-Type': file.type },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) return null;
    const made = await response.blob();
    const suffix = SUFFIXES[made.type];
    return suffix ? { file: made, suffix } : null;
  } catch {
    return null;
  }
}
