/** Puts the parts together: what a person does becomes a change of settings or of the session, and the view follows. */

import { BackgroundPicker, labelOf, nextBackground, surroundOf } from './backgrounds.js';
import { BadgeSwitch } from './badge.js';
import { Countdown } from './calibration.js';
import { CameraError, deviceOf, listCameras, watchCameras } from './camera.js';
import { FileDriver } from './filedriver.js';
import { fetchAvatars, Gallery, mayBeKept, showThumbnail } from './gallery.js';
import { Hud } from './hud.js';
import { bindKeys, listShortcuts } from './keys.js';
import { videoLatencyMs } from './latency.js';
import { problemLine, RECORD } from './messages.js';
import { NetMeter } from './netstats.js';
import { PhonePanel } from './phone.js';
import { Puppeteer } from './puppeteer.js';
import { RecordingCard } from './recording.js';
import { LiveSession, nameInLink, nameOfSession } from './session.js';
import { loadSettings, saveSettings } from './settings.js';
import { SourcePicker } from './sources.js';
import { INITIAL, isActive, reduce } from './state.js';
import { Newest, spellGains, StrengthPanel } from './strength.js';
import { View } from './view.js';

const MEASURE_MS = 1000;

/** The page. */
class App {
  view = new View();
  settings = loadSettings();
  state = INITIAL;
  hud = new Hud(this.view.hud);
  countdown = new Countdown((left) => this.view.showCount(left));
  gallery = new Gallery(/** @type {HTMLElement} */ (document.getElementById('avatars')), (id) => this.setAvatar(id));
  backgrounds = new BackgroundPicker(/** @type {HTMLElement} */ (document.getElementById('backgrounds')), this.settings.colour, (name) => this.setBackground(name));
  strength = new StrengthPanel(this.view.strengths, this.view.strengthNote, this.view.strengthReset, (gains) => this.setGains(gains));
  gainsSent = new Newest((group) => this.sendGain(/** @type {import('./strength.js').Group} */ (group)));
  puppeteer = new Puppeteer({
    send: (pose) => this.session.request('pose', pose),
    notice: (text, icon) => this.view.toast(text, icon),
  });
  recording = new RecordingCard(this.view.avatarVideo, {
    avatar: () => this.avatarId,
    refusal: () => (mayBeKept(this.gallery.find(this.avatarId)) ? '' : RECORD.notAgreed),
    notice: (text, icon) => this.view.toast(text, icon),
  });
  badge = new BadgeSwitch((enabled) => this.session.request('badge', { enabled }));
  phone = new PhonePanel(/** @type {HTMLDialogElement} */ (document.getElementById('phone')));
  file = new FileDriver(() => this.sources.showFile());
  sources = new SourcePicker(this.file, { chosen: (source) => this.setSource(source), notice: (text) => this.view.toast(text, 'alert') });
  session = new LiveSession(this.settings, this.file, {
    dispatch: (event) => this.dispatch(event),
    camera: (stream) => this.cameraChanged(stream),
    avatar: (stream) => this.view.play(this.view.avatarVideo, stream),
    stats: (stats) => {
      this.stats = stats;
      this.hud.update({ stats });
    },
    units: (units) => this.puppeteer.offer(units),
    roundTrip: (pingMs) => this.hud.update({ pingMs }),
    notice: (text) => {
      this.view.toast(text, 'alert');
      this.loadAvatars(); // one may be gone
    },
    applied: (background, mirror) => {
      this.badge.apply();
      this.applied({ background, mirror: String(mirror), avatar: this.avatarId, gains: spellGains(this.settings.gains) });
    },
  });
  defaultAvatar = '';
  /** @type {{pc: RTCPeerConnection, meter: NetMeter}|null} */
  metered = null;
  /** @type {Record<string, any>|null} */
  stats = null;

  start() {
    this.bindButtons();
    this.bindShortcuts();
    this.view.renderSettings(this.settings);
    this.backgrounds.select(this.settings.background);
    this.view.renderBackground(labelOf(this.settings.background));
    this.strength.show(this.settings.gains);
    this.puppeteer.setMirrored(this.settings.mirror);
    this.sources.show(this.session.source);
    this.render();
    this.hud.render();
    this.loadAvatars();
    this.refreshCameras();
    watchCameras(() => this.refreshCameras());
    window.addEventListener('pagehide', () => this.session.stop());
    setInterval(() => this.measure(), MEASURE_MS);
  }

  /** @returns {string} the avatar that is shown: the chosen one, or the server's default */
  get avatarId() {
    return this.settings.avatar ?? this.defaultAvatar;
  }

  /** @param {import('./state.js').StateEvent} event */
  dispatch(event) {
    const before = this.state.phase;
    this.state = reduce(this.state, event);
    if (this.state.phase !== 'live') this.countdown.cancel();
    if (this.state.phase === 'connecting' || !isActive(this.state)) this.hud.clear();
    if (event.type === 'connected' && this.gallery.avatars.length === 0) this.loadAvatars();
    this.render();
    if (before !== 'error' && this.state.phase === 'error') this.view.messageAction.focus({ preventScroll: true });
  }

  render() {
    this.puppeteer.setConnected(this.connected);
    this.recording.setPlaying(this.connected);
    this.view.render(this.state, this.gallery.find(this.avatarId)?.name ?? '');
  }

  save() {
    saveSettings(this.settings);
  }

  bindButtons() {
    const { view } = this;
    view.power.addEventListener('click', () => this.togglePower());
    view.calibrate.addEventListener('click', () => this.calibrate());
    view.mirror.addEventListener('click', () => this.toggleMirror());
    view.pause.addEventListener('click', () => this.togglePause());
    view.hudToggle.addEventListener('click', () => this.toggleHud());
    view.cleanToggle.addEventListener('click', () => this.setClean(true));
    view.previewToggle.addEventListener('click', () => this.togglePreview());
    view.stage.addEventListener('click', () => document.body.hasAttribute('data-clean') && this.setClean(false));
    view.messageAction.addEventListener('click', (/** @type {Event} */ event) => {
      event.stopPropagation();
      this.act(view.messageAction.dataset.act);
    });
    view.cameraSelect.addEventListener('change', () => this.setCamera(view.cameraSelect.value));
    listShortcuts(/** @type {HTMLElement} */ (document.getElementById('help-keys')));
    document.getElementById('phone-open')?.addEventListener('click', () => this.phone.open());
    document.getElementById('call-link')?.addEventListener('click', (event) => linkToCalls(/** @type {HTMLAnchorElement} */ (event.currentTarget)));
    /** @type {HTMLElement} */ (document.getElementById('named-note')).hidden = nameInLink() === null;
    document.getElementById('help-open')?.addEventListener('click', () => view.help.showModal());
    document.getElementById('help-close')?.addEventListener('click', () => view.help.close());
    view.help.addEventListener('click', (/** @type {Event} */ event) => event.target === view.help && view.help.close());
  }

  bindShortcuts() {
    const actions = {
      x: () => this.calibrate(),
      f: () => this.findNeutral(),
      digit: (/** @type {string} */ key) => this.chooseAvatar(Number(key) - 1),
      b: () => this.setBackground(nextBackground(this.settings.background)),
      m: () => this.toggleMirror(),
      p: () => this.togglePause(),
      h: () => this.togglePreview(),
      i: () => this.toggleHud(),
      r: () => this.recording.toggle(),
      k: () => this.recording.shoot(),
      v: () => this.setClean(!document.body.hasAttribute('data-clean')),
      '?': () => this.view.help.showModal(),
      escape: () => this.escape(),
    };
    bindKeys(actions, () => document.querySelector('dialog[open]') !== null);
  }

  /** @param {string} act */
  act(act) {
    if (act === 'retry') this.session.retryNow();
    else if (act === 'resume') this.togglePause();
    else this.session.start();
  }

  togglePower() {
    if (isActive(this.state)) this.session.stop();
    else this.session.start();
  }

  escape() {
    if (document.body.hasAttribute('data-clean')) this.setClean(false);
    else if (isActive(this.state)) this.session.stop();
  }

  calibrate() {
    if (!this.driven) return;
    if (this.state.tracking === 'lost') {
      this.view.toast('To calibrate, I need to see your face', 'alert');
      return;
    }
    this.countdown.start(() => this.request('calibrate', {}, () => this.view.toast('Calibrated')));
  }

  /** Calibrate without posing: the server looks for the most neutral moment of the last seconds. */
  findNeutral() {
    if (!this.driven) return;
    this.countdown.cancel();
    this.request('calibrate', { mode: 'best' }, () => this.view.toast('Found your neutral look'));
  }

  toggleMirror() {
    const mirror = !this.settings.mirror;
    this.settings.mirror = mirror;
    this.save();
    this.view.renderSettings(this.settings);
    this.puppeteer.setMirrored(mirror);
    this.request('mirror', { enabled: mirror }, () => this.applied({ mirror: String(mirror) }));
  }

  togglePause() {
    if (!this.driven && this.state.phase !== 'paused') return;
    this.session.setPaused(this.state.phase === 'live').catch((error) => this.view.toast(error.message, 'alert'));
  }

  toggleHud() {
    this.settings.hud = !this.settings.hud;
    this.save();
    this.view.renderSettings(this.settings);
    this.hud.render();
    this.measure();
  }

  togglePreview() {
    this.settings.preview = !this.settings.preview;
    this.save();
    this.view.renderSettings(this.settings);
  }

  /** @param {boolean} clean */
  setClean(clean) {
    this.view.setClean(clean, surroundOf(this.settings.background));
    if (clean) this.view.toast('Press V or Esc, or tap the picture, to come back');
  }

  /** @param {string} id */
  setCamera(id) {
    this.settings.camera = id || null;
    this.save();
    this.session.switchCamera();
  }

  /** @param {number} index */
  chooseAvatar(index) {
    const avatar = this.gallery.avatars[index];
    if (avatar) this.setAvatar(avatar.id);
  }

  /** @param {string|null} id null: the server's default */
  setAvatar(id) {
    const before = this.settings.avatar;
    this.settings.avatar = id;
    this.save();
    this.showAvatar({ pending: this.connected });
    const confirmed = () => {
      this.applied({ avatar: this.avatarId });
      this.gallery.select(this.avatarId);
    };
    this.request('set_avatar', { avatar: this.avatarId }, confirmed, () => this.settings.avatar === id && this.setAvatar(before));
  }

  /** @param {{pending?: boolean}} [state] */
  showAvatar(state) {
    const avatar = this.gallery.find(this.avatarId);
    this.gallery.select(this.avatarId, state);
    this.view.renderAvatar(avatar);
    showThumbnail(this.view.poster, avatar);
    this.recording.changed();
    this.render();
  }

  /** @param {string} name */
  setBackground(name) {
    this.settings.background = name;
    if (name.startsWith('#')) this.settings.colour = this.backgrounds.well.value;
    this.save();
    this.backgrounds.select(name);
    this.view.renderBackground(labelOf(name));
    if (document.body.hasAttribute('data-clean')) this.view.setClean(true, surroundOf(name));
    this.request('set_background', { background: name }, () => this.applied({ background: name }));
  }

  /** @param {Partial<import('./settings.js').Gains>} gains */
  setGains(gains) {
    this.settings.gains = { ...this.settings.gains, ...gains };
    this.save();
    this.strength.show(this.settings.gains);
    for (const group of Object.keys(gains)) this.gainsSent.push(group);
  }

  /** @param {import('./strength.js').Group} group */
  sendGain(group) {
    const { gains } = this.settings;
    return this.request('gain', { group, value: gains[group] }, () => this.applied({ gains: spellGains(gains) }));
  }

  /** @param {import('./sources.js').Source} source */
  async setSource(source) {
    try {
      await this.session.use(source);
    } catch (error) {
      this.view.toast(error instanceof CameraError ? problemLine(error.problem) : /** @type {Error} */ (error).message, 'alert');
    }
    if (this.state.phase === 'error') this.dispatch({ type: 'stop' });
    this.dispatch({ type: 'source', source: this.session.source });
    this.sources.show(this.session.source);
    if (this.session.source === 'sliders') /** @type {HTMLDetailsElement} */ (document.getElementById('puppet')).open = true;
  }

  /** Whether a face moves the avatar now. */
  get driven() {
    return this.state.phase === 'live' && this.state.source !== 'sliders';
  }

  get connected() {
    return ['warming', 'live', 'paused', 'restarting'].includes(this.state.phase);
  }

  /**
   * Ask the server, if there is one; without a session the setting is only remembered.
   * @param {string} type @param {Record<string, unknown>} fields @param {() => void} done @param {() => void} [refused]
   */
  async request(type, fields, done, refused) {
    if (!this.connected) return;
    try {
      await this.session.request(type, fields);
      done();
    } catch (error) {
      if (!this.connected) return;
      refused?.();
      this.view.toast(/** @type {Error} */ (error).message, 'alert');
    }
  }

  /** What the server has confirmed, for style sheets and tests. @param {Record<string, string>} confirmed */
  applied(confirmed) {
    for (const [name, value] of Object.entries(confirmed)) document.body.dataset[`applied${name[0].toUpperCase()}${name.slice(1)}`] = value;
  }

  /** @param {MediaStream|null} stream */
  cameraChanged(stream) {
    this.view.play(this.view.previewVideo, stream);
    if (stream) this.refreshCameras();
  }

  async refreshCameras() {
    this.view.renderCameras(await listCameras(), deviceOf(this.session.camera) ?? this.settings.camera);
  }

  async loadAvatars() {
    try {
      const listing = await fetchAvatars();
      this.gallery.show(listing.avatars);
      this.defaultAvatar = listing.default;
    } catch {
      return; // the next connection asks again
    }
    if (!this.gallery.find(this.settings.avatar)) this.settings.avatar = null;
    this.showAvatar();
  }

  async measure() {
    const pc = this.session.peerConnection;
    if (!pc) return;
    if (this.metered?.pc !== pc) this.metered = { pc, meter: new NetMeter() };
    const net = await this.metered.meter.sample(pc);
    this.hud.update({ net });
    this.recording.setDelay(videoLatencyMs(net, this.stats, this.session.source !== 'sliders'));
  }
}

/** So that its links are those of this tab's session. @param {HTMLAnchorElement} link */
function linkToCalls(link) {
  const name = nameOfSession();
  link.search = name === null ? '' : `?session=${encodeURIComponent(name)}`;
}

new App().start();
