/** The short countdown before "look neutral" is sent, so that there is time to do so. */

const STEPS = [2, 1];
const STEP_MS = 800;

/** Runs at most one countdown at a time. */
export class Countdown {
  #timer = 0;
  #running = false;

  /** @param {(left: number|null) => void} show the number to show; null: none */
  constructor(show) {
    this.show = show;
  }

  /** @param {() => void} done called at zero, unless cancelled */
  start(done) {
    if (this.#running) return;
    this.#running = true;
    this.#step(0, done);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#running = false;
    this.show(null);
  }

  /** @param {number} index @param {() => void} done */
  #step(index, done) {
    if (index === STEPS.length) {
      this.cancel();
      done();
      return;
    }
    this.show(STEPS[index]);
    this.#timer = setTimeout(() => this.#step(index + 1, done), STEP_MS);
  }
}
