/** The studio page: an avatar from a video, and the avatars that there are. */

import { fetchInfo } from './studio-api.js';
import { JobList } from './studio-jobs.js';
import { Maker } from './studio-maker.js';
import { watchMemory } from './studio-memory.js';
import { Shelf } from './studio-shelf.js';
import { FAILURES } from './studio-texts.js';

const AGAIN_MS = 3000;

const jobs = new JobList(() => shelf.load());
const shelf = new Shelf(() => jobs.watch());
const maker = new Maker((job) => {
  jobs.take(job);
  jobs.watch();
  document.getElementById('jobs-section')?.scrollIntoView({ block: 'nearest' });
});

/** Opens the page's parts once the server answers. */
async function open() {
  let info;
  try {
    info = await fetchInfo();
  } catch (error) {
    const absent = /** @type {any} */ (error).status === 404;
    shelf.root.parentElement.hidden = absent;
    maker.open({ problem: absent ? FAILURES.closed : FAILURES.offline, max_upload_bytes: 0 });
    if (!absent) setTimeout(open, AGAIN_MS);
    return;
  }
  maker.open(info);
  shelf.load();
  jobs.watch();
}

watchMemory(() => {
  jobs.watch();
  shelf.load();
});
open();
