/**
 * The states of the page, as one pure function.
 *
 * @typedef {'idle'|'asking'|'connecting'|'warming'|'live'|'paused'|'restarting'|'waiting'|'error'} Phase
 * @typedef {'ok'|'lost'|'multiple'} Tracking
 * @typedef {'off'|'waiting'|'open'|'refused'|'unavailable'} Lock of an avatar that only its owner may drive: were they recognised? Off: anybody may
 * @typedef {'lost'|'unreachable'|'full'|'limited'|'blocked'} WaitReason why the page waits before it connects again
 * @typedef {import('./sources.js').Source} Source
 * @typedef {{kind: string, detail?: string}} Problem what ended the session; `kind` is a key of `messages.js`
 * @typedef {{phase: Phase, source: Source, tracking: Tracking, lock: Lock, problem: Problem|null, wait: {reason: WaitReason, seconds: number}|null}} State
 * @typedef {{type: 'start'|'connecting'|'connected'|'stop'}
 *   | {type: 'source', source: Source}
 *   | {type: 'server_state', state: string}
 *   | {type: 'tracking', state: Tracking}
 *   | {type: 'lock', lock: Lock}
 *   | {type: 'wait', reason: WaitReason, seconds: number}
 *   | {type: 'fail', problem: Problem}} StateEvent
 */

/** @type {Readonly<State>} */
export const INITIAL = Object.freeze({ phase: 'idle', source: 'camera', tracking: 'ok', lock: 'off', problem: null, wait: null });

const CONNECTED = new Set(['connecting', 'warming', 'live', 'paused', 'restarting']);
const SERVER_PHASES = new Set(['warming', 'live', 'paused', 'restarting']);
const TRACKINGS = new Set(['ok', 'lost', 'multiple']);
const LOCKS = new Set(['off', 'waiting', 'open', 'refused', 'unavailable']);

/**
 * The state after an event. An event that makes no sense in a state (a late message of a closed session) changes nothing.
 *
 * @param {State} state
 * @param {StateEvent} event
 * @returns {State}
 */
export function reduce(state, event) {
  const afresh = { ...INITIAL, source: state.source };
  switch (event.type) {
    case 'source':
      return { ...state, source: event.source };
    case 'start':
      return { ...afresh, phase: 'asking' };
    case 'connecting':
      return { ...afresh, phase: 'connecting' };
    case 'connected':
      return state.phase === 'connecting' ? { ...state, phase: 'warming' } : state;
    case 'server_state':
      return CONNECTED.has(state.phase) && SERVER_PHASES.has(event.state) ? { ...state, phase: /** @type {Phase} */ (event.state) } : state;
    case 'tracking':
      return CONNECTED.has(state.phase) && TRACKINGS.has(event.state) ? { ...state, tracking: event.state } : state;
    case 'lock':
      return CONNECTED.has(state.phase) && LOCKS.has(event.lock) ? { ...state, lock: event.lock } : state;
    case 'wait':
      return { ...afresh, phase: 'waiting', wait: { reason: event.reason, seconds: event.seconds } };
    case 'fail':
      return { ...afresh, phase: 'error', problem: event.problem };
    case 'stop':
      return afresh;
    default:
      return state;
  }
}

/** @param {State} state @returns {boolean} whether a session is wanted: the camera is on, or on its way */
export function isActive(state) {
  return state.phase !== 'idle' && state.phase !== 'error';
}
