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
    text: 'Browsers open the camera only over https:// or on localhost. Open the page as http://localhost on the computer that runs the server, or start the server with --tls-auto (or --cert-file and --key-file).',
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
    text: 'Plug one in or switch it on, then try again; or choose a video file or the sliders, which need none. A virtual machine or remote desktop may need the camera passed through.',
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
  replaced: {
    title: 'Another camera took over',
    text: 'This session goes on with another device or tab that has the same link. To take it back, try again.',
    icon: 'people',
  },
  idle: { title: 'Ended, since nobody moved', text: 'The server ends sessions in which no face is seen and nothing is done. Your camera is off. Start again whenever you like.', icon: 'face' },
  expired: { title: 'Your time is over', text: 'This server’s owner lets each session last only so long. Your camera is off. Start again if there is a place.', icon: 'pause' },
  rejected: { title: 'The server refused the session', text: 'Reload the page and try again. If it stays, the server’s log says more.', icon: 'alert' },
};

/** What the server calls the end of a session that is not to be connected again by itself. */
const ENDS = new Set(['replaced', 'idle', 'expired']);

/** @param {string} state as the server says it */
export const isEnd = (state) => ENDS.has(state);

/** @param {string} why @param {number} seconds @returns {string} what comes unless something is done */
export const endingLine = (why, seconds) =>
  why === 'idle' ? `Nobody moves: the session ends in ${seconds} s unless you do` : `The session ends in ${seconds} s: it has lasted as long as it may here`;

const WAITS = {
  lost: { label: 'Disconnected', title: 'Connection lost', text: 'Your camera stays on and the page connects again by itself.', icon: 'plug' },
  unreachable: { label: 'Unreachable', title: 'The server does not answer', text: 'Check that it is running and that you are on the same network.', icon: 'plug' },
  full: { label: 'Server full', title: 'The server is full', text: 'All places are taken. The page tries again by itself as soon as it may.', icon: 'people' },
  limited: { label: 'Too many tries', title: 'Too many tries at once', text: 'The server asks for a pause. The page tries again by itself.', icon: 'plug' },
  blocked: { label: 'No video path', title: 'No video gets through', text: 'The server answers, but a firewall or VPN seems to block the video (UDP).', icon: 'plug' },
};

const LOST_HINT = { title: 'I can’t see your face', text: 'Look towards the camera; more light in front of you helps.', icon: 'face' };
const LOST_IN_FILE_HINT = { title: 'I can’t see a face', text: 'The avatar follows as soon as the video shows one, from the front and large enough.', icon: 'face' };
const MULTIPLE_HINT = { title: 'Several faces in view', text: 'The avatar keeps following one of them.', icon: 'people' };

/** @param {import('./state.js').Problem} problem @returns {string} in one line */
export function problemLine(problem) {
  const { title, text } = PROBLEMS[problem.kind] ?? PROBLEMS.rejected;
  return `${title}. ${text}`;
}

/** By what moves the avatar. `name` is the avatar's. */
export const SOURCES = {
  camera: {
    start: 'Start camera',
    asking: { label: 'Allow the camera', title: 'May I use your camera?', text: 'Your browser asks you now. Choose “Allow”.' },
    idle: { title: 'You move. Your avatar moves.', text: (/** @type {string} */ name) => `Start the camera, and ${name} follows every look and word.` },
    privacy: 'Your camera picture goes to this server only. It is never sent on.',
    preview: 'Your camera, seen by you only',
  },
  file: {
    start: 'Start video',
    asking: { label: 'Opening', title: 'Opening the video', text: 'It begins in a moment.' },
    idle: { title: 'A video moves. Your avatar moves.', text: (/** @type {string} */ name) => `Start the video, and ${name} follows the face in it.` },
    privacy: 'The file stays here. Its picture goes to this server only, as your camera’s would. Keep this tab in sight while it plays.',
    preview: 'The video, seen by you only',
  },
  sliders: {
    start: 'Start sliders',
    asking: { label: 'Starting', title: 'Starting', text: 'No camera is needed.' },
    idle: { title: 'Move it by hand.', text: (/** @type {string} */ name) => `Start, and ${name} does what the sliders say. No camera is needed.` },
    privacy: 'No camera and no video: only where the sliders stand is sent.',
    preview: 'No picture',
  },
};

export const FILE = {
  none: 'No video yet',
  choose: 'Choose a video',
  another: 'Another file',
  play: 'Play the video',
  pause: 'Pause the video',
  unplayable: (/** @type {string} */ name) => `This browser cannot play ${name}: choose a video that it can, such as MP4 with H.264, or WebM`,
};

/** The puppeteer's card. */
export const SLIDERS = {
  none: 'Nothing set',
  set: (/** @type {number} */ count) => `${count} set`,
  hold: 'Hold, whatever the driver does',
  title: (/** @type {string} */ name) => `${name}; double click or Delete: back to rest`,
  forget: (/** @type {string} */ label) => `Forget the preset ${label}`,
  kept: {
    kept: 'Preset kept in this browser',
    nameless: 'Give the preset a name',
    full: 'No room for more presets: forget one first',
    blocked: 'This browser lets the page keep nothing: allow it to store data for this site',
  },
};

/** @type {Record<string, string>} */
export const GROUP_LABELS = { head: 'Head', eyes: 'Eyes', brows: 'Brows', mouth: 'Mouth', jaw: 'Jaw', cheeks: 'Cheeks and nose', tongue: 'Tongue', others: 'Others' };

/** ARKit's shapes without their side, and the angles. @type {Record<string, string>} */
export const UNIT_LABELS = {
  headYaw: 'Turn',
  headPitch: 'Nod',
  headRoll: 'Tilt',
  gazeYaw: 'Look aside',
  gazePitch: 'Look up, down',
  eyeBlink: 'Close',
  eyeSquint: 'Squint',
  eyeWide: 'Widen',
  eyeLookUp: 'Look up',
  eyeLookDown: 'Look down',
  eyeLookIn: 'Look in',
  eyeLookOut: 'Look out',
  browInnerUp: 'Raise inside',
  browOuterUp: 'Raise outside',
  browDown: 'Lower',
  mouthSmile: 'Smile',
  mouthFrown: 'Frown',
  mouthPucker: 'Pucker',
  mouthFunnel: 'Funnel',
  mouthClose: 'Close lips',
  mouthLeft: 'Move left',
  mouthRight: 'Move right',
  mouthStretch: 'Stretch',
  mouthDimple: 'Dimple',
  mouthPress: 'Press',
  mouthUpperUp: 'Upper lip up',
  mouthLowerDown: 'Lower lip down',
  mouthRollUpper: 'Roll upper lip',
  mouthRollLower: 'Roll lower lip',
  mouthShrugUpper: 'Shrug upper lip',
  mouthShrugLower: 'Shrug lower lip',
  jawOpen: 'Open',
  jawForward: 'Forward',
  jawLeft: 'Left',
  jawRight: 'Right',
  cheekPuff: 'Puff',
  cheekSquint: 'Raise cheek',
  noseSneer: 'Sneer',
  tongueOut: 'Out',
};

/** @type {Record<string, string>} */
export const PRESET_LABELS = {
  neutral: 'Neutral',
  smile: 'Smile',
  laugh: 'Laugh',
  surprised: 'Surprised',
  wink: 'Wink',
  frown: 'Frown',
  sad: 'Sad',
  kiss: 'Kiss',
  doubt: 'Doubt',
  asleep: 'Asleep',
};

/** Buttons that copy a text. */
export const COPY = { copied: 'Copied', failed: 'Selected' };

/** The dialog "Your phone as the camera". */
export const PHONE = {
  waiting: 'Waiting for your phone',
  live: 'Your phone is the camera',
  problems: {
    address: 'That is no address. It looks like https://192.168.1.20:5000.',
    loopback:
      'Your phone cannot reach “localhost”: that is itself. Serve this page on your network over https (--host 0.0.0.0 --tls-auto --token-file token.txt), and type this computer’s address here, such as https://192.168.1.20:5000.',
    insecure: 'Phones open the camera on https:// pages only. Start the server with --tls-auto, and begin the address with https://.',
  },
};

/** Recording and pictures. */
export const RECORD = {
  start: 'Record',
  stop: 'Stop and save',
  unable: 'This browser cannot record; a current Chrome, Edge, Firefox or Safari can.',
  shot: 'Picture saved',
  noPicture: 'There is no picture to save: try again',
  notAgreed: 'Whom this avatar shows did not agree to recordings and pictures',
  saved: (/** @type {string} */ name, /** @type {string} */ size) => `Saved ${name}, ${size}`,
  full: (/** @type {string} */ size) => `The recording reached ${size} and was saved: start another to go on`,
  signing: 'Adding content credentials…',
  credentials: (/** @type {boolean} */ asked, /** @type {boolean} */ holds) =>
    !asked ? '' : holds ? ', with content credentials' : '. The server did not sign it: it has no content credentials',
  note: {
    signed: 'Made in this browser. This server signs into it that it shows an AI avatar, and keeps nothing of it. Then it is saved to your downloads.',
    plain: 'Made in this browser and saved to your downloads. Nothing is sent.',
  },
  started: 'Recording. R stops and saves',
  resized: 'The network changed the picture’s size; what was recorded until then was saved: start another to go on',
  broken: 'The browser broke the recording off; what there was of it was saved',
  failed: 'The recording failed and nothing was saved: free some memory, or try another browser',
  /** By the name of what getUserMedia throws. @type {Record<string, string>} */
  problems: {
    NotAllowedError: 'The microphone is not allowed: allow it at the address bar, or record without sound',
    SecurityError: 'The microphone is not allowed: allow it at the address bar, or record without sound',
    NotFoundError: 'No microphone found: plug one in, or record without sound',
    NotReadableError: 'Another program holds the microphone: close that one, or record without sound',
    TimeoutError: 'The browser begins no sound: turn on a loudspeaker or headphones, or record without sound',
    NotSupportedError: 'This browser cannot record the avatar’s video: try another one',
  },
};

/** By the state of an avatar's lock. @type {Record<string, {title: string, text: string, icon: string}>} */
const LOCKED_HINTS = {
  waiting: {
    title: 'This avatar is locked to its owner; waiting to recognise you',
    text: 'Look straight at the camera, with light on your face.',
    icon: 'lock',
  },
  refused: {
    title: 'This avatar is locked to its owner',
    text: 'Your face is not that of the person it shows. It stays at rest until they are before the camera; or pick another avatar.',
    icon: 'lock',
  },
  unavailable: {
    title: 'This avatar is locked to its owner',
    text: 'This server cannot recognise anybody; its log says what it needs. Pick another avatar until then.',
    icon: 'lock',
  },
};

const SLIDERS_LOCKED_HINT = {
  title: 'This avatar is locked to its owner',
  text: 'Sliders move it only while its owner is before the camera. Choose the camera, or another avatar.',
  icon: 'lock',
};

/** @param {State} state */
function lockHint({ lock, source }) {
  const hint = LOCKED_HINTS[lock] ?? null;
  return hint && source === 'sliders' && lock !== 'unavailable' ? SLIDERS_LOCKED_HINT : hint;
}

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
  const locked = lockHint(state);
  if (locked) return { label: 'Locked', spoken: `${locked.title}. ${locked.text}`, tone: 'warn', message: null, hint: locked };
  if (state.source === 'sliders') return { label: 'Live', spoken: 'Live: the avatar does what the sliders say.', tone: 'live', message: null, hint: null };
  const lost = state.source === 'file' ? LOST_IN_FILE_HINT : LOST_HINT;
  if (state.tracking === 'lost') return { label: 'Face lost', spoken: lost.title, tone: 'warn', message: null, hint: lost };
  if (state.tracking === 'multiple') return { label: 'Live', spoken: MULTIPLE_HINT.title, tone: 'live', message: null, hint: MULTIPLE_HINT };
  return { label: 'Live', spoken: 'Live: the avatar moves with your face.', tone: 'live', message: null, hint: null };
}

/** @param {string} label @param {string} title @param {string} text @returns {Description} */
function busy(label, title, text) {
  return { label, spoken: title, tone: 'busy', message: { title, text, icon: null }, hint: null };
}

/** @param {State} state @returns {Description} */
function askingFor(state) {
  const { label, title, text } = SOURCES[state.source].asking;
  return busy(label, title, text);
}

/**
 * @param {State} state
 * @param {string} avatarName the chosen avatar's name, or ''
 * @returns {Description}
 */
export function describe(state, avatarName) {
  switch (state.phase) {
    case 'asking':
      return askingFor(state);
    case 'connecting':
      return busy('Connecting', 'Connecting', 'Finding the way to the server.');
    case 'warming':
      return busy('Warming up', 'Warming up', 'The avatar is on its way.');
    case 'restarting':
      return busy('Restarting', 'The avatar is restarting', 'Something went wrong with it; it will go on in a moment.');
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
      const { title, text } = SOURCES[state.source].idle;
      return { label: 'Ready', spoken: 'Ready', tone: 'quiet', message: { title, text: text(avatarName || 'your avatar'), icon: null }, hint: null };
    }
  }
}
