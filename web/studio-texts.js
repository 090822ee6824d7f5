/** Every word that the studio says, and the numbers in them. */

export const STEPS = ['Video', 'Check', 'Whose face'];

export const TITLES = {
  loading: 'One moment',
  closed: 'The studio is closed',
  video: 'Make an avatar from a video',
  recording: 'Record yourself',
  review: 'Use this recording?',
  uploading: 'Sending the video',
  checking: 'Checking the video',
  refused: 'This video will not do',
  consent: 'Whose face is it?',
};

export const VIDEO = {
  intro: 'Ten to sixty seconds of one person: head and shoulders, light from the front, the camera on something that stands still.',
  record: 'Record with the webcam',
  choose: 'Choose a video file',
  drop: 'or drop one here',
  privacy: 'The video goes to this server only, where nobody else sees it. One that no avatar is made of is deleted after a day.',
};

/** What to do while recording, and for how many seconds. */
export const GUIDE = [
  { seconds: 4, title: 'Look at the camera', text: 'Relax your face, lips closed.' },
  { seconds: 10, title: 'Turn your head slowly', text: 'To the left, back, to the right, back: as far as you can still see the screen.' },
  { seconds: 5, title: 'Look up, then down', text: 'Slowly, with the whole head.' },
  { seconds: 8, title: 'Speak', text: '“Five wild foxes jumped over my big oak table, and the moon watched them go.”' },
  { seconds: 6, title: 'Smile, frown, raise your eyebrows', text: 'One after the other; big and small.' },
  { seconds: 4, title: 'Open your mouth wide', text: 'Say “aah”, then “ooh”.' },
  { seconds: 4, title: 'Close your eyes', text: 'For a second, then blink a few times.' },
];

export const RECORDING = {
  before: 'Fill the outline with your head. Then start: it takes {seconds} seconds, and each step is shown.',
  asking: 'May I use your camera? Choose “Allow”.',
  start: 'Start recording',
  stop: 'Stop here',
  back: 'Back',
  again: 'Record again',
  use: 'Use this recording',
  step: 'Step {number} of {count}',
  left: '{seconds} s',
  short: 'That was short: at least 3 seconds are needed, 10 or more are good.',
  none: 'This browser cannot record. Record with your phone or camera program, and choose the file here.',
};

/** Live hints: first guesses from the picture’s pixels. The check on the server looks properly. */
export const HINTS = {
  dark: 'It is dark. Face a window or a lamp.',
  bright: 'Your face is too bright. Dim the light, or move away from it.',
  side: 'The light comes from one side. Turn towards it.',
  far: 'Come closer: your head should fill the outline.',
  near: 'Move back a little: the whole head should show.',
  aside: 'Move to the middle of the picture.',
  unseen: 'I cannot make out your head. Is it within the outline?',
  good: 'Light and framing look good.',
};

export const UPLOAD = { sent: '{sent} of {total} MB', cancel: 'Stop sending', looking: 'Looking at the file …', checking: 'Face, light, sharpness, movement: a few seconds.' };

export const FINDINGS = {
  good: 'Nothing to complain about: this video is good.',
  usable: 'It can be used. It would be better so:',
  refused: 'No avatar can be made of it:',
  unchecked: 'The check did not finish; you can try nevertheless.',
  needed: 'Needed: {needed}.',
  another: 'Use another video',
};

export const CONSENT = {
  name: 'Name of the avatar',
  nameHint: 'Letters, digits, spaces, - and _; at most 64.',
  subject: 'Whose face is in the video',
  subjectHint: 'First and last name. It is written into the avatar.',
  me: 'I am that person',
  other: 'It is somebody else, who agreed',
  granted: 'Who agreed',
  grantedHint: 'The person, or who may decide for them.',
  until: 'Until when it may be used',
  untils: [
    { value: '', text: 'Until it is withdrawn' },
    { value: '12', text: 'For a year' },
    { value: '1', text: 'For a month' },
    { value: 'day', text: 'Until a day that I choose' },
  ],
  untilDay: 'Last day on which it may be used',
  purposes: 'What it may be used for',
  live: 'Live video, moved by',
  anybody: 'the person shown and those they let',
  own: 'the person shown and nobody else',
  uses: {
    recordings: 'Recordings and still pictures',
    export: '3D files for other programs: out of Headcast’s reach from then on',
    training: 'Research, and the training of other programs',
  },
  read: 'Please read: these words are written into the avatar and signed.',
  agreeMe: 'I agree to this.',
  agreeOther: '{who} agrees to this, and told me so.',
  somebody: 'Whoever may decide',
  forget: 'Delete the video as soon as the avatar is made',
  forgetHint: 'A comparison of some seconds stays for a day, for you to judge the avatar by. Then only the avatar is left.',
  keepHint: 'The video and its pictures stay on the server until you delete the avatar.',
  keepDaysHint: 'The video and its pictures stay on the server for {days} days, or until you delete the avatar.',
  preset: 'How thorough',
  quick: 'Quick: a few minutes',
  full: 'Full: two to three times as long, and sharper',
  make: 'Make the avatar',
  missing: 'Please fill in every field, and tick the box.',
};

export const STAGES = {
  '': 'Getting ready',
  dataset: 'Finding the face and cutting out the head',
  fit: 'Learning shape and movement',
  train: 'Learning skin, hair and clothes',
  bake: 'Packing the avatar',
  evaluate: 'Comparing it with the video',
};

export const JOB = {
  titles: { making: 'In the making', over: 'Just now' },
  queued: 'Waits in the queue, number {position}',
  running: '{stage}',
  done: 'Ready',
  failed: 'It did not work',
  cancelled: 'Cancelled',
  left: 'about {time} left',
  unknown: 'working out how long it takes',
  cancel: 'Cancel',
  retry: 'Try again',
  remove: 'Delete',
  play: 'Play it now',
  dismiss: 'Done',
  log: 'What the program said',
  preview: 'The avatar so far',
  lost: 'The server does not answer. It goes on by itself as soon as it is back; I keep asking.',
};

export const SHELF = {
  made: 'Shows {subject}, who agreed',
  until: 'until {date}',
  nobody: 'Nobody’s likeness',
  on: 'made {date}',
  play: 'Play',
  rename: 'Rename',
  download: 'Download',
  glb: 'Download GLB',
  exporting: 'The GLB file of {name} is being made …',
  remove: 'Delete',
  details: 'Details',
  origins: { shipped: 'comes with Headcast', folder: 'from a folder of this server', imported: 'imported', made: '' },
  renameTitle: 'Rename {name}',
  removeTitle: 'Delete {name}?',
  removeText: 'The avatar, its video and everything that was learned of it are deleted at once, for everybody. It cannot be undone.',
  keep: 'Keep it',
  refused: 'Not shown: {problem}.',
  withdraw: 'Withdraw consent',
  withdrawTitle: 'Withdraw the consent to {name}?',
  withdrawText: 'The avatar, its video and everything that was learned of it are deleted at once, for everybody, and a copy of this avatar is refused when it comes back to this server. It cannot be undone.',
  withdrawn: 'The consent to {name} was withdrawn; it was deleted.',
  trustTitle: 'Do you know who made this avatar?',
  trustText: 'It was signed with a key that nobody has accepted here yet: {key}. Accept it only if you know who made the avatar, and believe that the person shown agreed. All that was signed with it is accepted from then on.',
  trust: 'Accept and import',
  purposes: { live: 'live', recordings: 'recordings', export: '3D files', training: 'training' },
  only: 'moved by them only',
  signed: 'signed by {by}',
  save: 'Save',
  cancel: 'Cancel',
  imported: '{name} was imported.',
  removed: '{name} was deleted.',
  figures: 'On parts of the video that it has not learned from',
  region: { head_box: 'Head', mouth: 'Mouth', eyes: 'Eyes' },
  offline: 'at best',
  live: 'driven live',
  advice: 'What would help most',
  took: 'Made in {time}',
  video: 'The real video beside the avatar',
  nofigures: 'Nothing was measured: the avatar came as a file.',
};

export const FAILURES = {
  offline: 'The server does not answer. Check that it is running, then try again.',
  tooLarge: 'The file has {size} MB; {limit} MB is the most. A minute of 1080p video is plenty: cut it, or export it smaller.',
  gone: 'The video is no longer on the server. Send it again.',
  closed: 'This server makes no avatars.',
  camera: {
    insecure: 'Browsers open the camera only over https:// or on localhost. Choose a video file instead.',
    denied: 'The camera is not allowed. Allow it with the symbol in the address bar, then try again.',
    denied_by_system: 'Your system blocks the camera. Allow it in the privacy settings, then try again.',
    no_camera: 'No camera was found. Plug one in, or choose a video file instead.',
    busy: 'Another program or tab uses the camera. Close that one, then try again.',
    camera_failed: 'The camera did not start. Plug it in again, or choose a video file instead.',
    no_webrtc: 'This browser gives no page the camera. Choose a video file instead.',
  },
};

/** @param {string} text with {names} @param {Record<string, unknown>} values */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** @param {number} seconds @returns {string} as people say it */
export function spell(seconds) {
  if (seconds < 50) return `${Math.max(5, Math.ceil(seconds / 5) * 5)} seconds`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes <= 1 ? 'a minute' : `${minutes} minutes`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {number} bytes */
export const megabytes = (bytes) => Math.max(bytes / 1048576, 0.1).toFixed(bytes < 10485760 ? 1 : 0);
