/**
 * What the page says in each state: short, and with what to do.
 *
 * @typedef {import('./state.js').State} State
 * @typedef {'quiet'|'busy'|'live'|'warn'|'error'} Tone
 * @typedef {{title: string, text: string, detail?: string, icon: string|null, action?: {label: string, act: 'start'|'retry'|'resume'}}} Message
 * @typedef {{label: string, spoken: string, tone: Tone, message: Message|null, hint: {title: string, text: string, icon: string}|null}} Description
 */

/** @type {Record<string, {title: string, text: string, icon: string}>} */
const PROBLEMS = {
  insecure: {
    title: 'This address may not use the camera',
    text: 'Browsers open the camera only over https:// or on localhost. Open the page as http://localhost on the computer that runs the server, or start the server with --cert-file and --key-file.',
    icon: 'lock',
  },
  no_webrtc: {
    title: 'This browser has no WebRTC',
    text: 'Headcast needs it to send and receive video. Use a current Chrome, Edge, Firefox or Safari, and check that no extension turns WebRTC off.',
    icon: 'alert',
  },
  denied: {
    title: 'The camera is not allowed',
    text: 'Allow the camera for this page: use the camera or lock symbol in the address bar. Then try again.',
    icon: 'camera-off',
  },
  denied_by_system: {
    title: 'Your system blocks the camera',
    text: 'Allow the camera for this browser in the privacy settings of your system. Then try again.',
    icon: 'camera-off',
  },
  no_camera: {
    title: 'No camera found',
    text: 'Plug one in or switch it on, then try again. A virtual machine or remote desktop may need the camera passed through.',
    icon: 'camera-off',
  },
  busy: {
    title: 'The camera is busy',
    text: 'Another program or tab is using it. Close that one, or pick another camera, then try again.',
    icon: 'camera-off',
  },
  camera_lost: {
    title: 'The camera went away',
    text: 'It was unplugged, or the system took it. Plug it in or pick another one, then start again.',
    icon: 'camera-off',
  },
  camera_failed: { title: 'The camera did not start', text: 'Unplug and plug it in again, or pick another camera, then try again.', icon: 'camera-off' },
  rejected: { title: 'The server refused the session', text: 'Reload the page and try again. If it stays, the server’s log says more.', icon: 'alert' },
};

const WAITS = {
  lost: { label: 'Disconnected', title: 'Connection lost', text: 'Your camera stays on and the page connects again by itself.', icon: 'plug' },
  unreachable: { label: 'Unreachable', title: 'The server does not answer', text: 'Check that it is running and that you are on the same network.', icon: 'plug' },
  full: { label: 'Server full', title: 'The server is full', text: 'All places are taken. The page tries again by itself as soon as it may.', icon: 'people' },
  blocked: { label: 'No video path', title: 'No video gets through', text: 'The server answers, but a firewall or VPN seems to block the video (UDP).', icon: 'plug' },
};

const LOST_HINT = { title: 'I can’t see your face', text: 'Look towards the camera; more light in front of you helps.', icon: 'face' };
const MULTIPLE_HINT = { title: 'Several faces in view', text: 'The avatar keeps following one of them.', icon: 'people' };

/** @param {number} seconds */
const inSeconds = (seconds) => (seconds < 1 ? 'Connecting again now' : `Next try in ${seconds} s`);

/** @param {State} state @returns {Description} */
function describeWait(state) {
  const wait = /** @type {NonNullable<State['wait']>} */ (state.wait);
  const { label, title, text, icon } = WAITS[wait.reason];
  return {
    label,
    spoken: `${title}. ${text}`,
    tone: 'warn',
    message: { title, text, detail: inSeconds(wait.seconds), icon, action: { label: 'Try now', act: 'retry' } },
    hint: null,
  };
}

/** @param {State} state @returns {Description} */
function describeError(state) {
  const problem = PROBLEMS[state.problem?.kind ?? ''] ?? PROBLEMS.rejected;
  return {
    label: 'Stopped',
    spoken: `${problem.title}. ${problem.text}`,
    tone: 'error',
    message: { ...problem, detail: state.problem?.detail, action: { label: 'Try again', act: 'start' } },
    hint: null,
  };
}

/** @param {State} state @returns {Description} */
function describeLive(state) {
  if (state.tracking === 'lost') return { label: 'Face lost', spoken: LOST_HINT.title, tone: 'warn', message: null, hint: LOST_HINT };
  if (state.tracking === 'multiple') return { label: 'Live', spoken: MULTIPLE_HINT.title, tone: 'live', message: null, hint: MULTIPLE_HINT };
  return { label: 'Live', spoken: 'Live: the avatar moves with your face.', tone: 'live', message: null, hint: null };
}

/** @param {string} label @param {string} title @param {string} text @returns {Description} */
function busy(label, title, text) {
  return { label, spoken: title, tone: 'busy', message: { title, text, icon: null }, hint: null };
}

/**
 * @param {State} state
 * @param {string} avatarName the chosen avatar's name, or ''
 * @returns {Description}
 */
export function describe(state, avatarName) {
  switch (state.phase) {
    case 'asking':
      return busy('Allow the camera', 'May I use your camera?', 'Your browser asks you now. Choose “Allow”.');
    case 'connecting':
      return busy('Connecting', 'Connecting', 'Finding the way to the server.');
    case 'warming':
      return busy('Warming up', 'Warming up', 'The avatar is on its way.');
    case 'live':
      return describeLive(state);
    case 'paused':
      return {
        label: 'Paused',
        spoken: 'Paused. No picture is sent.',
        tone: 'quiet',
        message: { title: 'Paused', text: 'No camera picture is sent.', icon: 'pause', action: { label: 'Resume', act: 'resume' } },
        hint: null,
      };
    case 'waiting':
      return describeWait(state);
    case 'error':
      return describeError(state);
    default: {
      const text = `Start the camera, and ${avatarName || 'your avatar'} follows every look and word.`;
      return { label: 'Ready', spoken: 'Ready', tone: 'quiet', message: { title: 'You move. Your avatar moves.', text, icon: null }, hint: null };
    }
  }
}
