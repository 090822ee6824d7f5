/**
 * What the studio remembers, in this browser only: the identifiers that make a video, a job or an avatar one's own. All tabs share it, so each change is made on
 * what is there now.
 *
 * @typedef {{upload: string|null, jobs: string[], keys: Record<string, string>}} Memory
 */

const KEY = 'headcast.studio';
const ID = /^[\w-]{22}$/;

/** @param {unknown} value */
const isId = (value) => typeof value === 'string' && ID.test(value);

/** @type {Memory} for when storage is blocked */
let volatile = { upload: null, jobs: [], keys: {} };

/** @returns {Memory} whatever is missing or not valid is absent */
export function recall() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}') ?? {};
    return {
      upload: isId(stored.upload) ? stored.upload : null,
      jobs: Array.isArray(stored.jobs) ? stored.jobs.filter(isId) : [],
      keys: Object.fromEntries(Object.entries(stored.keys ?? {}).filter(([, key]) => isId(key))),
    };
  } catch {
    return volatile;
  }
}

/** @param {(memory: Memory) => void} change */
export function remember(change) {
  const memory = recall();
  change(memory);
  volatile = memory;
  try {
    localStorage.setItem(KEY, JSON.stringify(memory));
  } catch {
    // storage is blocked or full: it works, until the page is left
  }
}

/** @returns {string[]} */
export const allKeys = () => [...new Set(Object.values(recall().keys))];

/** @param {() => void} changed by another tab */
export function watchMemory(changed) {
  window.addEventListener('storage', (event) => (event.key === KEY || event.key === null) && changed());
}
